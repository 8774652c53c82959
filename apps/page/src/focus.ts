// What is being looked at: the row, the column or the sum of some, cut where it says enough.
import type {RunInfo, Token} from './data';
import {Edge, Edges, Group} from './group';
import type {Place, State} from './state';

/** An end of the edges in focus, seen from the tokens that were chosen. */
export interface Other {
  index: number; // of the token at the other end
  weight: number; // summed over the chosen tokens
  lift: number; // weight over what a uniform share would be
  edge: Edge | null; // the edge itself, where one token was chosen
}

export interface Focus {
  from: Place[]; // the chosen tokens
  inverse: boolean; // they are keys
  others: Other[]; // heaviest first
  shown: number; // how many of them make kEnough of the mass
  shownMass: number; // share of the total; NaN where the total is not known
  total: number; // what 100 % stands for
  rest: number; // how many there are besides those shown; NaN where that is not known
  missing: boolean; // this file keeps no rows of this head
}

const kEnough = 0.7,
  kMostArcs = 24;

/** Whether a token of that list is looked from as a key. */
export function isInverse(group: Group, place: Place, inverse: boolean): boolean {
  if (group.selfAttention) return inverse;
  return place.list === group.info.keys; // in cross-attention the side says it
}

/** The same edges as if special tokens and sinks weren't there: their share is given to the rest in proportion. */
function without(group: Group, head: number, edges: Edges, inverse: boolean): Edges {
  const list = edges.list
    .filter(e => !group.isSpecial(e.key))
    .map(e => {
      const left = 1 - group.parked(head, e.query),
        n = group.visible(head, e.query) - group.parkedKeys(head, e.query);
      const weight = left > 0 ? Math.min(e.weight / left, 1) : 0;
      return {...e, weight, lift: weight * n};
    })
    .sort((a, b) => b.weight - a.weight);
  if (inverse) return {...edges, list, total: list.reduce((s, e) => s + e.weight, 0)};
  const query = edges.list[0]?.query ?? 0,
    dropped = edges.list.length - list.length;
  const specials = edges.list.length ? group.parkedKeys(head, query) : 0;
  return {list, total: edges.total, others: edges.others - (specials - dropped)};
}

export function edgesOf(group: Group, head: number, index: number, inverse: boolean, bare: boolean): Edges {
  const edges = inverse ? group.column(head, index) : group.row(head, index);
  return bare ? without(group, head, edges, inverse) : edges;
}

export function focusOn(group: Group, state: Readonly<State>): Focus | null {
  const from = state.pinned.length > 0 ? state.pinned : state.hover ? [state.hover] : [];
  const mine = from.filter(p => p.list === group.info.queries || p.list === group.info.keys);
  if (mine.length === 0) return null;
  const inverse = isInverse(group, mine[0], state.inverse);
  const sums = new Map<number, {weight: number; uniform: number; edge: Edge}>();
  let total = 0,
    rest = 0;
  for (const place of mine) {
    const edges = edgesOf(group, state.head, place.index, inverse, state.bare);
    total += edges.total;
    rest = Math.max(rest, edges.others + edges.list.length);
    for (const edge of edges.list) {
      const other = inverse ? edge.query : edge.key,
        share = edge.lift > 0 ? edge.weight / edge.lift : 0;
      const sum = sums.get(other);
      if (sum) {
        sum.weight += edge.weight;
        sum.uniform += share;
      } else sums.set(other, {weight: edge.weight, uniform: share, edge});
    }
  }
  const others = [...sums]
    .map(([index, s]) => ({
      index,
      weight: s.weight,
      lift: s.uniform > 0 ? s.weight / s.uniform : 0,
      edge: mine.length === 1 ? s.edge : null,
    }))
    .sort((a, b) => b.weight - a.weight);
  const known = Number.isNaN(total) ? others.reduce((s, o) => s + o.weight, 0) : total;
  let shown = 0,
    mass = 0;
  while (shown < others.length && shown < kMostArcs && mass < kEnough * known && others[shown].weight > 0)
    mass += others[shown++].weight;
  const unknown = Number.isNaN(total);
  return {
    from: mine,
    inverse,
    others,
    shown,
    total,
    missing: !group.hasRows(state.head),
    shownMass: unknown ? NaN : total > 0 ? mass / total : 0,
    rest: unknown ? NaN : rest - shown,
  };
}

/** A token as it stands in a sentence about it. */
export function spelled(token: Token): string {
  return token.text.trim() || token.text;
}
/** The same where it would be lost among words: a full stop in quotes. */
function quoted(token: Token): string {
  const s = spelled(token);
  return /[\p{L}\p{N}]/u.test(s) ? s : `“${s}”`;
}

export function names(run: RunInfo, places: Place[]): string {
  const words = places.slice(0, 4).map(p => quoted(run[p.list]![p.index]));
  return words.join(' + ') + (places.length > 4 ? ` + ${places.length - 4} more` : '');
}

/** "showing 63%, 37% over 4 others": what the arcs and the rows leave out is always said. */
export function coverage(focus: Focus, percent: (x: number) => string): string {
  if (Number.isNaN(focus.shownMass))
    return `showing the ${focus.shown} strongest of ${focus.others.length} links kept in this file`;
  if (focus.rest <= 0) return `showing all of it, ${focus.shown} in number`;
  return `showing ${percent(focus.shownMass)}, ${percent(Math.max(0, 1 - focus.shownMass))} over ${focus.rest.toLocaleString('en')} other${focus.rest === 1 ? '' : 's'}`;
}
