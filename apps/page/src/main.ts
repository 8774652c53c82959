// The page that `fovea look --html` writes: reads what stands in its own file, and never anything else.
import {Atlas} from './atlas';
import {read} from './data';
import {byId, h} from './dom';
import {focusOn} from './focus';
import {Group} from './group';
import {bar, contents, headLine, helpBox, Legend} from './header';
import {Inspector} from './inspector';
import {MapView} from './map';
import type {Theme} from './scale';
import {Scatter} from './scatter';
import {State, Store} from './state';
import {Steps} from './steps';
import {TextView} from './text';

function open(): void {
  const {run, arrays} = read();
  const groups = run.page.groups.map((info, i) => new Group(info, run, arrays[i]));
  const groupOf = (head: number): Group => groups.find(g => g.info.heads.includes(head))!;

  const dark = matchMedia('(prefers-color-scheme: dark)');
  const preferred = (): Theme => (dark.matches ? 'dark' : 'light');
  // The head of the strongest link that was asked for; the token that was asked for, pinned.
  const top = run.links[0];
  const first = top ? run.heads.findIndex(x => x.kind === top.kind && x.layer === top.layer && x.head === top.head) : 0;
  const store = new Store({
    head: Math.max(first, 0),
    pinned: run.page.open.queries.map(index => ({list: groups[0].info.queries, index})),
    hover: null,
    inverse: false,
    scale: 'lift',
    bare: false,
    path: true,
    theme: preferred(),
    sort: 'place',
    allRows: false,
  });
  dark.addEventListener('change', () => store.set({theme: preferred()}));

  const help = helpBox(run, groups[0]);
  bar(byId('bar'), run, store, help);
  const atlas = new Atlas(byId('atlas'), run, groupOf, store);
  const inverse = h(
    'button',
    {
      id: 'inverse',
      type: 'button',
      class: 'toggle',
      title: 'Who looks at it (A, or hold Alt)',
      'aria-pressed': 'false',
      click: () => store.set({inverse: !store.state.inverse}),
    },
    'who looks at it',
  );
  const steps = run.target_tokens ? new Steps(run, store, groupOf) : null;
  const text = new TextView(byId('text'), run, store, inverse, steps?.box);
  const legend = new Legend();
  const map = new MapView(byId('map'), store, legend.box);
  const scatter = new Scatter(byId('scatter'), run, store);
  const inspector = new Inspector(byId('row'), run, store, (list, index) => text.reveal({list, index}));
  byId('stage').append(h('p', {id: 'contents', class: 'caption'}, contents(groups[0], run)));

  store.watch((state, changed) => {
    const group = groupOf(state.head),
      any = (...names: (keyof State)[]): boolean => names.some(n => changed.has(n));
    if (any('head')) headLine(byId('head'), run, state.head);
    if (any('head', 'scale', 'theme')) legend.update(state, group);
    inverse.setAttribute('aria-pressed', String(state.inverse));
    if (
      any('head', 'pinned', 'inverse', 'bare', 'scale', 'theme', 'allRows') ||
      (any('hover') && state.pinned.length === 0)
    ) {
      const focus = focusOn(group, state);
      text.update(state, group, focus, any('pinned', 'hover', 'inverse', 'head'));
      inspector.update(state, group, focus);
    }
    map.update(state, group, any('head', 'scale', 'bare', 'theme', 'path'));
    scatter.update(state, group, any('head', 'theme'));
    steps?.update(state);
  });
  keys(store, atlas, help, steps);
  print(store);
  document.title = `${run.text.slice(0, 60)} – fovea`;
  store.tell(true);
  // Where tokens stand is known once the text is laid out, and changes with the window.
  addEventListener('resize', () => {
    text.forget();
    text.update(store.state, groupOf(store.state.head), focusOn(groupOf(store.state.head), store.state), false);
  });
}

function keys(store: Store, atlas: Atlas, help: () => void, steps: Steps | null): void {
  const acts: Record<string, () => void> = {
    a: () => store.set({inverse: !store.state.inverse}),
    l: () => store.set({scale: store.state.scale === 'lift' ? 'linear' : 'lift'}),
    s: () => store.set({bare: !store.state.bare}),
    p: () => store.set({path: !store.state.path}),
    ',': () => steps?.move(-1),
    '.': () => steps?.move(1),
    t: () => store.set({theme: store.state.theme === 'dark' ? 'light' : 'dark'}),
    '[': () => atlas.step(-1),
    ']': () => atlas.step(1),
    '?': help,
    escape: () => store.set({pinned: [], hover: null}),
  };
  addEventListener('keydown', event => {
    if (event.key === 'Alt' && !event.repeat && store.state.hover) {
      event.preventDefault(); // or the browser's menu takes the focus
      store.set({inverse: true});
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.target instanceof HTMLSelectElement) return;
    if ((byId('help') as HTMLDialogElement).open) return;
    acts[event.key.toLowerCase()]?.();
  });
  addEventListener('keyup', event => {
    if (event.key === 'Alt') store.set({inverse: false});
  });
  addEventListener('blur', () => store.set({inverse: false})); // Alt-Tab takes the keyup elsewhere
}

/** Paper is white. */
function print(store: Store): void {
  let before: Theme = store.state.theme;
  addEventListener('beforeprint', () => {
    before = store.state.theme;
    store.set({theme: 'light'});
    store.tell();
  });
  addEventListener('afterprint', () => store.set({theme: before}));
}

open();
