// The row in numbers: weight, lift, what was carried, and the effect in its tiers.
import type {ListName, Measured, RunInfo} from './data';
import {h} from './dom';
import {coverage, Focus, names, Other, spelled} from './focus';
import type {Group} from './group';
import {effectText, liftText, percent, weightText} from './scale';
import type {State, Store} from './state';

interface Column {
  id: string;
  name: string;
  about: string;
  value: (o: Other) => number | null;
  text: (o: Other) => string;
}

const kDash = '–',
  kMostRows = 200;
const kBeyondNoise = 95,
  kFewestDraws = 19; // the percentile among random cuts from which an effect is one, and the cuts that it takes to know

const kColumns: Column[] = [
  {id: 'weight', name: 'weight', about: 'where it looked', value: o => o.weight, text: o => weightText(o.weight)},
  {id: 'lift', name: 'lift', about: 'how many times a uniform share', value: o => o.lift, text: o => liftText(o.lift)},
  {
    id: 'norm',
    name: 'carried',
    about: '‖W_O A·v‖, norm-weighted: how much was carried over',
    value: o => o.edge?.norm ?? null,
    text: o => (o.edge ? effectText(o.edge.norm) : kDash),
  },
  {
    id: 'effect',
    name: 'local effect',
    about: '‖W_O Δo‖: how far this head’s output moves without the link; an estimate',
    value: o => o.edge?.effect ?? null,
    text: o => (o.edge ? effectText(o.edge.effect) : kDash),
  },
];

function measuredText(m: Measured | undefined): string {
  if (!m || m.effect === null) return kDash;
  if (m.draws === 0) return signedText(m.effect); // alone, beside no random cuts
  const beyond = m.draws >= kFewestDraws && m.percentile !== null && m.percentile >= kBeyondNoise;
  return beyond ? signedText(m.effect) : 'no measurable effect';
}
const signedText = (x: number): string => (x < 0 ? `−${effectText(-x)}` : effectText(x));
function measuredTitle(m: Measured | undefined): string {
  if (!m) return 'not measured: the model was not run without this link';
  const control =
    m.control_mean === null
      ? '; cut alone, without random cuts to compare with: fovea measure --cut has them'
      : `; control ${signedText(m.control_mean)} ± ${effectText(m.control_sd ?? 0)} over ${m.draws} draws, percentile ${m.percentile ?? kDash}`;
  return `${m.metric}: ${m.effect}${control}`;
}
const kMeasured: Column = {
  id: 'measured',
  name: 'measured',
  about: 'the model run again without the link: only this says caused',
  value: o => o.edge?.measured?.effect ?? null,
  text: o => measuredText(o.edge?.measured),
};

export class Inspector {
  private readonly body = h('div', {class: 'rows'});
  private readonly title = h('h2', {id: 'row-title'}, 'Row');
  private sort = 'weight';
  private last: {group: Group; focus: Focus | null} | null = null;

  constructor(
    place: HTMLElement,
    private readonly run: RunInfo,
    private readonly store: Store,
    private readonly reveal: (list: ListName, index: number) => void,
  ) {
    place.append(
      h('div', {class: 'heading'}, this.title),
      this.body,
      h(
        'dl',
        {class: 'tiers'},
        h('dt', {}, 'weight'),
        h('dd', {}, 'where this head looked'),
        h('dt', {}, 'local effect'),
        h('dd', {}, 'how far its output would move without the link: an estimate of what the link did'),
        h('dt', {}, 'measured'),
        h('dd', {}, 'the model run again without it, beside random cuts: only this says ', h('em', {}, 'caused')),
      ),
    );
  }

  update(state: Readonly<State>, group: Group, focus: Focus | null): void {
    this.last = {group, focus};
    if (!focus) {
      this.title.textContent = 'Row';
      this.body.replaceChildren(
        h('p', {class: 'hint'}, 'Point at a token, or pin one with a click, and its links stand here in numbers.'),
      );
      return;
    }
    const who = names(this.run, focus.from),
      one = focus.from.length === 1 ? focus.from[0] : null;
    this.title.replaceChildren(
      h('em', {}, who),
      focus.inverse ? ' is looked at by' : focus.from.length > 1 ? ' look at' : ' looks at',
    );
    const facts: string[] = [];
    if (one) facts.push(`token ${one.index}`);
    if (!focus.missing && one && !focus.inverse)
      facts.push(`≈ ${Math.exp(group.entropy(state.head, one.index)).toFixed(1)} tokens`);
    if (focus.inverse && !Number.isNaN(focus.total)) facts.push(`receives ${focus.total.toFixed(2)} rows’ worth`);
    if (focus.from.length > 1) facts.push(`sum of ${focus.from.length}; norms of different rows do not add up`);
    if (group.info.detail === 'rounded' || !group.complete)
      facts.push(group.complete ? 'numbers rounded to 16 bits' : 'weights exact, effects rounded to 16 bits');
    this.body.replaceChildren(
      h('p', {class: 'facts'}, facts.join(' · ')),
      focus.missing ? this.absent() : this.table(state, group, focus),
    );
  }

  private absent(): HTMLElement {
    const {layer, head} = this.run.heads[this.store.state.head];
    return h(
      'p',
      {class: 'hint'},
      `No rows of this head are in this file. Make a page of it alone: fovea look … --layer ${layer} --head ${head} --html FILE`,
    );
  }

  private table(state: Readonly<State>, group: Group, focus: Focus): HTMLElement {
    const columns = group.anyMeasured ? [...kColumns, kMeasured] : kColumns;
    const list = focus.inverse ? group.info.queries : group.info.keys;
    const head = h(
      'tr',
      {},
      h('th', {scope: 'col', class: 'word'}, focus.inverse ? 'query' : 'key'),
      h('th', {scope: 'col', title: 'distance in tokens'}, '±'),
      ...columns.map(c =>
        h(
          'th',
          {scope: 'col', 'aria-sort': this.sort === c.id ? 'descending' : 'none'},
          h('button', {type: 'button', title: c.about, click: () => this.order(c.id)}, c.name),
        ),
      ),
    );
    const limit = state.allRows ? kMostRows : Math.max(focus.shown, 1);
    const shown = focus.others.slice(0, limit);
    const by = columns.find(c => c.id === this.sort) ?? kColumns[0];
    shown.sort((a, b) => (by.value(b) ?? -1) - (by.value(a) ?? -1));
    const most = Math.max(...focus.others.map(o => o.weight), 1e-9);
    const rows = shown.map(o => this.row(o, focus, list, columns, most));
    const left = focus.others.length - shown.length;
    const foot = h(
      'p',
      {class: 'foot'},
      `${state.allRows ? `the ${shown.length} strongest` : coverage(focus, percent)} `,
    );
    if ((left > 0 && !state.allRows) || state.allRows)
      foot.append(
        h(
          'button',
          {type: 'button', class: 'quiet', click: () => this.store.set({allRows: !state.allRows})},
          state.allRows ? 'show fewer' : left > 0 ? `show ${Math.min(left, kMostRows - shown.length)} more` : '',
        ),
      );
    return h('div', {}, h('table', {}, h('thead', {}, head), h('tbody', {}, ...rows)), foot);
  }

  private row(o: Other, focus: Focus, list: ListName, columns: Column[], most: number): HTMLElement {
    const token = this.run[list]![o.index];
    const apart = focus.from.length === 1 && focus.from[0].list === list ? o.index - focus.from[0].index : null;
    const word = h(
      'td',
      {class: 'word'},
      h(
        'button',
        {
          type: 'button',
          class: 'quiet',
          title: `token ${o.index}: show it in the text`,
          click: () => this.reveal(list, o.index),
        },
        spelled(token),
      ),
      h('small', {}, String(o.index)),
    );
    return h(
      'tr',
      {'data-index': o.index},
      word,
      h('td', {}, apart === null ? '' : apart > 0 ? `+${apart}` : apart < 0 ? `−${-apart}` : '0'),
      ...columns.map(c => {
        const cell = h('td', {'data-col': c.id, 'data-value': String(c.value(o))}, c.text(o));
        if (c.id === 'measured') cell.title = measuredTitle(o.edge?.measured);
        if (c.id === 'weight') {
          cell.style.setProperty('--fill', `${(100 * o.weight) / most}%`);
          cell.classList.add('bar');
        }
        return cell;
      }),
    );
  }

  private order(id: string): void {
    this.sort = id;
    if (this.last) this.update(this.store.state, this.last.group, this.last.focus);
  }
}
