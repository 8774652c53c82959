// One head as a map: queries down, keys across. Drawn by viewport; long texts as tiles, with the links kept over them.
import {announce, css, h, hideTip, showTip, sized} from './dom';
import {spelled} from './focus';
import type {Group} from './group';
import {draw, Picture, picture} from './pixels';
import {countText, effectText, liftText, percent, weightText} from './scale';
import {cellOf, drawGrid, drawLabels, drawLinks, drawPath, kLeastCell, Plot, Window} from './map_drawing';
import type {State, Store} from './state';

interface Cell {
  query: number;
  key: number;
}

const kPadding = 16; // of the card, see style.css
const kLegible = 11; // pixels a token needs for its label

export class MapView {
  private readonly base = h('canvas', {'aria-hidden': 'true'});
  private readonly over = h('canvas', {'aria-hidden': 'true'});
  private readonly box = h('div', {class: 'map-box', tabindex: 0, role: 'application'}, this.base, this.over);
  private readonly caption = h('p', {class: 'caption'});
  private readonly zoom = h('span', {class: 'buttons'});
  window: Window = {query: 0, key: 0, queries: 1, keys: 1};
  plot: Plot = {x: 0, y: 0, width: 1, height: 1};
  private shown: Picture | null = null;
  private cursor: Cell | null = null;
  private drag: {x: number; y: number; window: Window; moved: boolean} | null = null;
  private group: Group | null = null;

  constructor(
    place: HTMLElement,
    private readonly store: Store,
    legend: HTMLElement,
  ) {
    const button = (text: string, label: string, act: () => void): HTMLElement =>
      h('button', {type: 'button', 'aria-label': label, title: label, click: act}, text);
    this.zoom.append(
      button('−', 'Zoom out', () => this.scaleBy(2)),
      button('+', 'Zoom in', () => this.scaleBy(0.5)),
      button('⤢', 'Show all', () => this.fit()),
    );
    place.append(
      h(
        'div',
        {class: 'heading'},
        h('h2', {id: 'map-title'}, 'Map ', h('small', {}, 'queries down, keys across')),
        this.zoom,
        legend,
      ),
      this.box,
      this.caption,
    );
    this.box.addEventListener('mousemove', e => this.move(e));
    this.box.addEventListener('mouseleave', () => {
      this.cursor = null;
      this.store.set({hover: null});
      hideTip();
    });
    this.box.addEventListener('mousedown', e => {
      this.drag = {x: e.clientX, y: e.clientY, window: {...this.window}, moved: false};
    });
    addEventListener('mouseup', () =>
      setTimeout(() => {
        this.drag = null;
      }),
    );
    this.box.addEventListener('click', e => this.click(e));
    this.box.addEventListener('keydown', e => this.key(e));
    this.box.addEventListener(
      'wheel',
      e => {
        if ((this.whole() && e.deltaY > 0) || this.group?.complete) return; // the page scrolls
        e.preventDefault();
        this.scaleBy(e.deltaY > 0 ? 1.25 : 0.8, this.at(e) ?? undefined);
      },
      {passive: false},
    );
    new ResizeObserver(() => this.redraw()).observe(place);
  }

  private get cell(): {width: number; height: number} {
    return cellOf(this);
  }
  private whole(): boolean {
    return (
      this.window.keys >= (this.group?.keys.length ?? 0) && this.window.queries >= (this.group?.queries.length ?? 0)
    );
  }

  update(state: Readonly<State>, group: Group, repaint: boolean): void {
    if (this.group !== group) {
      this.group = group;
      this.window = {query: 0, key: 0, queries: group.queries.length, keys: group.keys.length};
      this.zoom.hidden = group.complete;
    }
    if (repaint) {
      this.shown = picture(group, state.head, state);
      this.redraw();
    }
    this.drawOver(state);
  }

  private fit(): void {
    if (!this.group) return;
    this.window = {query: 0, key: 0, queries: this.group.queries.length, keys: this.group.keys.length};
    this.redraw();
  }

  /** Shows `factor` as much, keeping a cell where it is. */
  private scaleBy(factor: number, keep?: Cell): void {
    const group = this.group;
    if (!group || group.complete) return;
    const w = this.window,
      n = group.queries.length,
      k = group.keys.length;
    const queries = Math.min(Math.max(w.queries * factor, Math.min(12, n)), n),
      keys = Math.min(Math.max(w.keys * factor, Math.min(12, k)), k);
    const at = keep ?? {query: w.query + w.queries / 2, key: w.key + w.keys / 2};
    this.place({
      query: at.query - ((at.query - w.query) * queries) / w.queries,
      key: at.key - ((at.key - w.key) * keys) / w.keys,
      queries,
      keys,
    });
  }
  private place(w: Window): void {
    const group = this.group!;
    this.window = {
      ...w,
      query: Math.min(Math.max(w.query, 0), group.queries.length - w.queries),
      key: Math.min(Math.max(w.key, 0), group.keys.length - w.keys),
    };
    this.redraw();
  }

  private redraw(): void {
    const group = this.group,
      p = this.shown;
    if (!group || !p) return;
    const w = this.window,
      room = Math.max(this.box.parentElement!.clientWidth - 2 * kPadding, 160);
    const rowLabels = 74,
      columnLabels = 64,
      overhang = 30; // a label leans over its column
    // As large as fits, square, and with room for labels where tokens are wide enough for them.
    const side = Math.min((room - rowLabels - overhang) / w.keys, Math.max(420, innerHeight * 0.62) / w.queries, 38);
    const labels = side >= kLegible;
    const x = labels ? rowLabels : 0,
      y = labels ? columnLabels : 0;
    const cell = labels ? side : Math.min(room / w.keys, Math.max(420, innerHeight * 0.62) / w.queries);
    this.plot = {x, y, width: cell * w.keys, height: cell * w.queries};
    const width = x + this.plot.width + (labels ? overhang : 0),
      height = y + this.plot.height;
    const c = sized(this.base, width, height);
    sized(this.over, width, height);
    const across = p.across / group.keys.length,
      down = p.down / group.queries.length;
    const tile = group.complete ? null : group.tiles;
    const source = tile
      ? {x: w.key / tile.keys, y: w.query / tile.queries, width: w.keys / tile.keys, height: w.queries / tile.queries}
      : {x: w.key * across, y: w.query * down, width: w.keys * across, height: w.queries * down};
    draw(c, p, x, y, this.plot.width, this.plot.height, css('--hatch'), source);
    if (tile) drawLinks(c, group, this.store.state, this);
    if (side >= 16 && !tile) drawGrid(c, this);
    if (this.path(group)) drawPath(c, group.path!, this);
    c.strokeStyle = css('--line');
    c.lineWidth = 1;
    c.strokeRect(x + 0.5, y + 0.5, this.plot.width - 1, this.plot.height - 1);
    if (labels) drawLabels(c, group, this);
    this.caption.textContent = this.describe(group);
    this.box.setAttribute(
      'aria-label',
      `Map of a head, ${group.queries.length} queries by ${group.keys.length} keys. Arrow keys move, Enter pins the query${group.complete ? '' : ', plus and minus zoom'}.`,
    );
    this.drawOver(this.store.state);
  }

  private path(group: Group): boolean {
    return this.store.state.path && group.path !== null;
  }

  private describe(group: Group): string {
    const state = this.store.state,
      line = this.path(group)
        ? ' The line is the alignment: the word that each step looked at most, mean over the last layer’s heads.'
        : '',
      hatched = (this.shown!.hidden ? ' Hatched: hidden by the mask.' : '') + line;
    if (group.complete)
      return `Every cell is one weight${state.bare ? ', special tokens left out and the rest scaled up' : ''}.${hatched}`;
    const {queries, keys} = group.tiles;
    const links =
      this.cell.width >= kLeastCell && group.hasRows(state.head)
        ? 'Bright cells are single links kept in this file, behind them '
        : '';
    const what = state.scale === 'lift' ? 'the mean lift of a tile' : 'the largest weight of a tile';
    return `${links}${links ? what : `A cell is ${what}`} of ${queries} queries × ${keys} keys${state.bare ? '; tiles include the special tokens' : ''}. Scroll or + to zoom, drag to move.${hatched}`;
  }

  /** What moves with the pointer has a canvas of its own. */
  private drawOver(state: Readonly<State>): void {
    const group = this.group;
    if (!group) return;
    const ratio = Math.max(window.devicePixelRatio || 1, 1),
      c = this.over.getContext('2d')!;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, this.over.width, this.over.height);
    const {width, height} = this.cell,
      w = this.window,
      {plot} = this;
    c.save();
    c.beginPath();
    c.rect(plot.x - 1, plot.y - 1, plot.width + 2, plot.height + 2);
    c.clip();
    c.strokeStyle = css('--accent');
    const frame = (x: number, y: number, wide: number, high: number, line: number): void => {
      c.lineWidth = line;
      c.strokeRect(x, y, wide, high);
    };
    const places = [...state.pinned.map(p => ({...p, line: 2})), ...(state.hover ? [{...state.hover, line: 1}] : [])];
    for (const p of places) {
      const asKey = group.selfAttention ? state.inverse : p.list === group.info.keys;
      if (asKey) frame(plot.x + (p.index - w.key) * width, plot.y, Math.max(width, 2), plot.height, p.line);
      else if (p.list === group.info.queries)
        frame(plot.x, plot.y + (p.index - w.query) * height, plot.width, Math.max(height, 2), p.line);
    }
    if (this.cursor && width >= 3)
      frame(
        plot.x + (this.cursor.key - w.key) * width,
        plot.y + (this.cursor.query - w.query) * height,
        width,
        height,
        2,
      );
    c.restore();
  }

  private at(event: MouseEvent): Cell | null {
    const box = this.base.getBoundingClientRect(),
      {width, height} = this.cell,
      group = this.group;
    const query = Math.floor(this.window.query + (event.clientY - box.top - this.plot.y) / height);
    const key = Math.floor(this.window.key + (event.clientX - box.left - this.plot.x) / width);
    const inside =
      group &&
      event.clientX - box.left >= this.plot.x &&
      event.clientY - box.top >= this.plot.y &&
      query >= 0 &&
      key >= 0 &&
      query < group.queries.length &&
      key < group.keys.length;
    return inside ? {query, key} : null;
  }

  private move(event: MouseEvent): void {
    if (this.drag && this.group && !this.group.complete) {
      const dx = event.clientX - this.drag.x,
        dy = event.clientY - this.drag.y;
      if (Math.abs(dx) + Math.abs(dy) > 4) this.drag.moved = true;
      if (this.drag.moved) {
        const {width, height} = this.cell;
        return this.place({
          ...this.drag.window,
          key: this.drag.window.key - dx / width,
          query: this.drag.window.query - dy / height,
        });
      }
    }
    const cell = this.at(event);
    if (!cell) {
      hideTip();
      this.cursor = null;
      return this.store.set({hover: null});
    }
    this.go(cell);
    showTip(event.clientX, event.clientY, this.lines(cell));
  }

  private go(cell: Cell): void {
    this.cursor = cell;
    const list = this.group!.info;
    this.store.set({
      hover:
        this.group!.selfAttention && this.store.state.inverse
          ? {list: list.keys, index: cell.key}
          : {list: list.queries, index: cell.query},
    });
    this.drawOver(this.store.state);
  }

  private lines({query, key}: Cell): string[] {
    const group = this.group!,
      {head} = this.store.state;
    if (!group.complete && this.cell.width < 3) return this.tileLines(query, key);
    const who = `${spelled(group.queries[query])} → ${spelled(group.keys[key])}`,
      where = `token ${query} → ${key}`;
    if (group.complete && !group.seen(head, query, key)) return [who, where, 'hidden by the mask'];
    const edge = group.row(head, query).list.find(e => e.key === key);
    if (!edge) return [who, where, 'not among the links kept in this file'];
    return [
      who,
      `weight ${weightText(edge.weight)} · lift ${liftText(edge.lift)}`,
      `local effect ${effectText(edge.effect)}`,
      where,
    ];
  }

  private tileLines(query: number, key: number): string[] {
    const group = this.group!,
      {mass, peak, queries, keys} = group.tiles,
      across = mass.shape[2];
    const row = Math.floor(query / queries),
      column = Math.floor(key / keys),
      at = (group.placeOf(this.store.state.head) * mass.shape[1] + row) * across + column;
    const range = (i: number, size: number, n: number): string =>
      `${countText(i * size)}–${countText(Math.min((i + 1) * size, n) - 1)}`;
    return [
      `queries ${range(row, queries, group.queries.length)} → keys ${range(column, keys, group.keys.length)}`,
      `${percent(mass.at[at])} of these queries' attention`,
      `largest weight ${weightText(peak.at[at])}`,
    ];
  }

  private click(event: MouseEvent): void {
    if (this.drag?.moved) return;
    const cell = this.at(event);
    if (!cell || !this.group) return;
    if (!this.group.complete && this.cell.width < 3) return this.scaleBy(0.35, cell);
    this.pin(cell, event.shiftKey);
  }
  private pin(cell: Cell, add: boolean): void {
    const {info, selfAttention} = this.group!;
    this.store.pin(
      selfAttention && this.store.state.inverse
        ? {list: info.keys, index: cell.key}
        : {list: info.queries, index: cell.query},
      add,
    );
  }

  private key(event: KeyboardEvent): void {
    if (!this.group || event.ctrlKey || event.metaKey) return;
    const moves: Record<string, [number, number]> = {
      ArrowUp: [-1, 0],
      ArrowDown: [1, 0],
      ArrowLeft: [0, -1],
      ArrowRight: [0, 1],
    };
    if (event.key in moves) {
      const [down, right] = moves[event.key],
        at = this.cursor ?? {query: -1 + (down ? 0 : 1), key: -1 + (right ? 0 : 1)};
      const query = Math.min(Math.max(at.query + down, 0), this.group.queries.length - 1),
        key = Math.min(Math.max(at.key + right, 0), this.group.keys.length - 1);
      this.go({query, key});
      const box = this.base.getBoundingClientRect(),
        {width, height} = this.cell,
        lines = this.lines({query, key});
      showTip(
        box.left + this.plot.x + (key + 1 - this.window.key) * width,
        box.top + this.plot.y + (query + 1 - this.window.query) * height,
        lines,
      );
      announce(lines.join(', '));
    } else if (event.key === 'Enter' || event.key === ' ') {
      if (this.cursor) this.pin(this.cursor, event.shiftKey);
    } else if (event.key === '+' || event.key === '=') this.scaleBy(0.5, this.cursor ?? undefined);
    else if (event.key === '-') this.scaleBy(2, this.cursor ?? undefined);
    else if (event.key === '0') this.fit();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
