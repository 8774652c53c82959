// What stays in sight: what ran, the proof, the ways to look; and the head that is open.
import type {RunInfo} from './data';
import {byId, h} from './dom';
import type {Group} from './group';
import {headName} from './atlas';
import {colours, countText, errorText, kLeastLift, liftText, percent} from './scale';
import type {State, Store} from './state';

function toggle(id: string, text: string, title: string, act: () => void): HTMLButtonElement {
  return h('button', {id, type: 'button', class: 'toggle', title, 'aria-pressed': 'false', click: act}, text);
}

export function bar(place: HTMLElement, run: RunInfo, store: Store, help: () => void): void {
  const m = run.model,
    rows = run.page.groups.reduce((n, g) => n + g.heads.length * (run[g.queries]?.length ?? 0), 0);
  const lift = toggle('lift', 'lift', 'Colour by log lift: how many times a uniform share (L)', () =>
    store.set({scale: 'lift'}),
  );
  const linear = toggle('linear', 'linear', 'Colour by the weight itself (L)', () => store.set({scale: 'linear'}));
  const bare = toggle(
    'bare',
    'without sink',
    'Leave out special tokens and sinks, and scale the rest up to 100% (S)',
    () => store.set({bare: !store.state.bare}),
  );
  const path = toggle('path', 'path', 'The alignment over the map of attention to the source (P)', () =>
    store.set({path: !store.state.path}),
  );
  path.hidden = !run.page.groups.some(g => g.kind === 'cross') || !run.alignment;
  const theme = h(
    'button',
    {
      id: 'theme',
      type: 'button',
      class: 'icon',
      title: 'Dark or light (T)',
      'aria-label': 'Dark or light',
      click: () => store.set({theme: store.state.theme === 'dark' ? 'light' : 'dark'}),
    },
    '◐',
  );
  place.append(
    h('h1', {}, h('span', {class: 'mark', 'aria-hidden': 'true'}), 'fovea'),
    h(
      'p',
      {class: 'model'},
      `${m.family} · ${m.layers} layers × ${m.heads} heads of ${m.head_dim} · ${countText(run.tokens.length)} tokens`,
    ),
    h(
      'p',
      {
        class: 'proof',
        id: 'proof',
        title:
          'The largest difference between the output that the kernel really produced and the sum of values by the weights shown here, over all rows and channels of these heads',
      },
      h('b', {}, 'proof'),
      ' max ‖Σ A·v − o‖ = ',
      h('output', {}, errorText(run.proof.max_abs_error)),
      h('span', {class: 'wide'}, ` over ${countText(rows)} rows`),
    ),
    h(
      'div',
      {class: 'tools', role: 'toolbar', 'aria-label': 'Ways to look'},
      h('span', {class: 'pair'}, lift, linear),
      bare,
      path,
      theme,
      h(
        'button',
        {id: 'help-button', type: 'button', class: 'icon', title: 'Help (?)', 'aria-label': 'Help', click: help},
        '?',
      ),
    ),
  );
  store.watch((state, changed) => {
    lift.setAttribute('aria-pressed', String(state.scale === 'lift'));
    linear.setAttribute('aria-pressed', String(state.scale === 'linear'));
    bare.setAttribute('aria-pressed', String(state.bare));
    path.setAttribute('aria-pressed', String(state.path));
    if (changed.has('theme')) document.documentElement.dataset['theme'] = state.theme;
  });
}

/** The scale as a strip of colours with its figures. */
export class Legend {
  readonly box = h('div', {class: 'legend', role: 'img'});

  update(state: Readonly<State>, group: Group): void {
    const ramp = colours(state.theme),
      stops: string[] = [];
    for (let i = 0; i <= 16; ++i) {
      const at = 3 * Math.round((255 * i) / 16);
      stops.push(`rgb(${ramp[at]} ${ramp[at + 1]} ${ramp[at + 2]})`);
    }
    const n = Math.max(group.keys.length, 2),
      low = Math.log10(kLeastLift),
      high = Math.log10(n);
    const ticks: [number, string][] =
      state.scale === 'linear'
        ? [
            [0, '0'],
            [0.5, '0.5'],
            [1, '1'],
          ]
        : [
            [0, `≤${kLeastLift}×`],
            [-low / (high - low), -low / (high - low) < 0.32 ? '1×' : 'uniform'],
            [1, liftText(n)],
          ];
    const strip = h('div', {class: 'ramp'});
    strip.style.background = `linear-gradient(90deg, ${stops.join(',')})`;
    const marks = ticks.map(([at, text]) => {
      const mark = h('span', {}, text);
      mark.style.left = `${100 * at}%`;
      return mark;
    });
    this.box.setAttribute(
      'aria-label',
      state.scale === 'lift'
        ? `Colours: lift, from ${kLeastLift} of a uniform share to ${n} times`
        : 'Colours: weight, from 0 to 1',
    );
    this.box.replaceChildren(
      h('span', {class: 'what'}, state.scale === 'lift' ? 'lift' : 'weight'),
      h('div', {class: 'scale'}, strip, h('div', {class: 'ticks'}, ...marks)),
    );
  }
}

/** The open head in a line of numbers. */
export function headLine(place: HTMLElement, run: RunInfo, index: number): void {
  const head = run.heads[index];
  const fact = (name: string, value: string, about: string): HTMLElement =>
    h('span', {class: 'fact', title: about}, h('b', {}, value), ` ${name}`);
  place.replaceChildren(
    h(
      'h2',
      {},
      h('small', {}, head.kind === 'encoder' ? 'head ' : `${head.kind} head `),
      headName(head),
      head.name ? h('span', {class: 'badge'}, head.name) : '',
    ),
    h(
      'p',
      {class: 'facts'},
      fact('tokens looked at', `≈ ${Math.exp(head.entropy).toFixed(1)}`, 'e to the mean entropy of its rows'),
      fact('confidence', percent(head.confidence), 'mean over queries of the largest weight'),
      fact('on special tokens', percent(head.special), 'mean mass on tokens that the tokenizer added'),
      fact('previous', percent(head.previous), 'mean weight of the token before'),
      fact('itself', percent(head.self), 'mean weight of the token itself'),
      fact('next', percent(head.next), 'mean weight of the token after'),
      fact('distance', head.distance.toFixed(1), 'mean distance in tokens, by weight'),
      fact('proof', errorText(run.page.proofs[index]), 'max ‖Σ A·v − o‖ over the rows of this head'),
    ),
  );
}

/** What this file holds and what was left out of it, always said. */
export function contents(group: Group, run: RunInfo): string {
  const n = `${countText(group.info.heads.length)} heads × ${countText(group.queries.length)} queries × ${countText(group.keys.length)} keys`;
  if (group.info.detail === 'exact')
    return `This file holds every weight and local effect, as the kernel gave them (32 bits): ${n}.`;
  if (group.info.detail === 'rounded')
    return `This file holds every weight and local effect, rounded to 16 bits (0.05%): ${n}.`;
  const {top, linked, heads} = group.info,
    which =
      linked!.length === heads.length
        ? 'every head'
        : `${linked!.length} of ${heads.length} heads (the others have their map alone)`;
  return (
    `This file leaves out what is weak: it holds the ${top} strongest links of each query in ${which}, their weights exact, effects rounded to 16 bits, and maps of all ${heads.length} heads in tiles of ${group.info.tile!.queries} × ${group.info.tile!.keys}. ` +
    `--layer and --head make a page of fewer heads with more of each. ${run.page.program}.`
  );
}

export const kKeys: [string, string][] = [
  ['Pointer over a token', 'what it looks at'],
  ['Alt', 'who looks at it, while held'],
  ['A', 'the same, to stay'],
  ['Click · Enter', 'pins a token; again lets it go'],
  ['Shift-click · Shift-Enter', 'adds a token to the sum'],
  ['Esc', 'lets all go'],
  ['← → ↑ ↓', 'move among tokens, heads, or cells of the map'],
  ['[ ]', 'head before, head after, in the order shown'],
  ['L', 'colour by lift or by weight'],
  ['S', 'with or without sinks'],
  ['T', 'dark or light'],
  ['P', 'with or without the alignment'],
  [', .', 'step of writing before, step after'],
  ['+ − 0', 'zoom the map of a long text'],
  ['?', 'this'],
];

export function helpBox(run: RunInfo, group: Group): () => void {
  const box = byId('help') as HTMLDialogElement;
  box.append(
    h('h2', {id: 'help-title'}, 'How to look'),
    h('table', {}, ...kKeys.map(([key, what]) => h('tr', {}, h('th', {scope: 'row'}, key), h('td', {}, what)))),
    h('p', {}, contents(group, run)),
    h(
      'p',
      {},
      'Say position, not word: after the first layer, a position’s vector is no longer its token alone. And a large weight does not mean that the link decided anything: see the effects beside it.',
    ),
    h('form', {method: 'dialog'}, h('button', {class: 'primary'}, 'Close')),
  );
  return () => box.showModal();
}
