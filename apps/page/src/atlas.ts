// Every head as a thumbnail: layers × heads, or in the order of a number.
import type {HeadInfo, RunInfo} from './data';
import {announce, css, h, sized} from './dom';
import type {Group} from './group';
import {draw, picture} from './pixels';
import {percent} from './scale';
import type {State, Store} from './state';

interface Order {
  name: string;
  of: (head: HeadInfo) => number;
  text: (head: HeadInfo) => string;
  ascending?: boolean;
}

const kOrders: Record<string, Order> = {
  place: {name: 'layer · head', of: x => x.layer * 1e6 + x.head, text: () => '', ascending: true},
  entropy: {
    name: 'fewest tokens looked at',
    of: x => x.entropy,
    text: x => `≈${Math.exp(x.entropy).toFixed(1)}`,
    ascending: true,
  },
  confidence: {name: 'confidence', of: x => x.confidence, text: x => percent(x.confidence)},
  previous: {name: 'previous token', of: x => x.previous, text: x => percent(x.previous)},
  next: {name: 'next token', of: x => x.next, text: x => percent(x.next)},
  self: {name: 'itself', of: x => x.self, text: x => percent(x.self)},
  special: {name: 'special tokens', of: x => x.special, text: x => percent(x.special)},
  sink: {name: 'first token', of: x => x.sink, text: x => percent(x.sink)},
  distance: {name: 'distance', of: x => x.distance, text: x => x.distance.toFixed(1)},
};

export const headName = (head: HeadInfo): string => `${head.layer}·${head.head}`;

export class Atlas {
  private readonly grid = h('div', {
    class: 'grid',
    role: 'listbox',
    'aria-label': 'Heads',
    keydown: (e: KeyboardEvent) => this.key(e),
  });
  private readonly cells: HTMLButtonElement[] = [];
  private order: number[] = [];
  private columns = 1;

  constructor(
    place: HTMLElement,
    private readonly run: RunInfo,
    private readonly groupOf: (head: number) => Group,
    private readonly store: Store,
  ) {
    const sort = h(
      'select',
      {id: 'sort', 'aria-label': 'Order of the heads', change: () => store.set({sort: sort.value})},
      ...Object.entries(kOrders).map(([key, o]) =>
        h('option', {value: key}, key === 'place' ? 'by layer · head' : `by ${o.name}`),
      ),
    );
    run.heads.forEach((head, i) => {
      const cell = h(
        'button',
        {
          class: 'thumb',
          type: 'button',
          role: 'option',
          'data-head': i,
          title: this.title(head),
          'aria-label': this.title(head),
          click: () => store.set({head: i}),
        },
        h('canvas'),
        h('span', {class: 'label'}),
        h('span', {class: 'value'}),
      );
      this.cells.push(cell);
    });
    place.append(
      h(
        'div',
        {class: 'heading'},
        h('h2', {id: 'atlas-title'}, `Heads `, h('small', {}, String(run.heads.length))),
        sort,
      ),
      this.grid,
    );
    store.watch((state, changed) => {
      if (changed.has('sort')) this.arrange(state);
      if (['scale', 'bare', 'theme'].some(name => changed.has(name as keyof State))) this.paint(state);
      if (changed.has('head') || changed.has('sort')) this.mark(state, changed.has('head'));
    });
  }

  private title(head: HeadInfo): string {
    const name = head.name ? `, mostly ${head.name}` : '';
    const kind = head.kind === 'encoder' ? '' : `${head.kind} `;
    return `${kind}layer ${head.layer} head ${head.head}${name}: looks at ≈ ${Math.exp(head.entropy).toFixed(1)} tokens`;
  }

  private arrange(state: Readonly<State>): void {
    const order = kOrders[state.sort],
      heads = this.run.heads,
      kinds = [...new Set(heads.map(x => x.kind))],
      byPlace = state.sort === 'place';
    const sign = order.ascending ? 1 : -1,
      kind = (i: number): number => (byPlace ? kinds.indexOf(heads[i].kind) : 0);
    this.order = heads
      .map((_, i) => i)
      .sort((a, b) => kind(a) - kind(b) || sign * (order.of(heads[a]) - order.of(heads[b])) || a - b);
    const layers = new Set(heads.map(x => `${x.kind} ${x.layer}`)).size;
    const perLayer = Math.ceil(heads.length / layers);
    this.columns = byPlace ? perLayer : Math.min(perLayer, 8);
    this.grid.style.setProperty('--columns', String(this.columns));
    this.grid.classList.toggle('ranked', !byPlace);
    this.grid.replaceChildren(...(byPlace ? this.inRows() : this.order.map(i => this.cells[i])));
    for (const i of this.order) {
      this.cells[i].querySelector('.label')!.textContent = headName(heads[i]);
      this.cells[i].querySelector('.value')!.textContent = order.text(heads[i]);
    }
  }

  /** A line a layer, with its number in front and the heads' numbers on top. */
  private inRows(): Node[] {
    const label = (text: string, kind: string): HTMLElement => h('span', {class: kind, 'aria-hidden': 'true'}, text);
    const nodes: Node[] = [label('', 'axis')];
    const numbers = [...new Set(this.run.heads.map(x => x.head))].sort((a, b) => a - b);
    nodes.push(...numbers.map(n => label(String(n), 'axis')));
    const several = new Set(this.run.heads.map(x => x.kind)).size > 1;
    let kind = '',
      layer = -1;
    for (const i of this.order) {
      const head = this.run.heads[i];
      if (several && head.kind !== kind) nodes.push(label(head.kind, 'kind'));
      if (head.kind !== kind || head.layer !== layer) nodes.push(label(String(head.layer), 'axis side'));
      kind = head.kind;
      layer = head.layer;
      nodes.push(this.cells[i]);
    }
    return nodes;
  }

  private paint(state: Readonly<State>): void {
    const ink = css('--hatch');
    this.cells.forEach((cell, i) => {
      const p = picture(this.groupOf(i), i, state),
        side = 48;
      draw(sized(cell.querySelector('canvas')!, side, side), p, 0, 0, side, side, ink);
      cell.querySelector('canvas')!.removeAttribute('style'); // its size is the grid's to say
    });
  }

  private mark(state: Readonly<State>, moved: boolean): void {
    this.cells.forEach((cell, i) => {
      cell.setAttribute('aria-selected', String(i === state.head));
      cell.tabIndex = i === state.head ? 0 : -1;
    });
    if (!moved) return;
    if (this.grid.contains(document.activeElement)) this.cells[state.head].focus();
    announce(this.title(this.run.heads[state.head]));
  }

  /** The head that lies `by` places further in the order shown. */
  step(by: number): void {
    const at = this.order.indexOf(this.store.state.head) + by;
    if (at >= 0 && at < this.order.length) this.store.set({head: this.order[at]});
  }

  private key(event: KeyboardEvent): void {
    const steps: Record<string, number> = {
      ArrowLeft: -1,
      ArrowRight: 1,
      ArrowUp: -this.columns,
      ArrowDown: this.columns,
    };
    const by = steps[event.key];
    if (by === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    this.step(by);
  }
}
