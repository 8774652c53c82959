// Heads over the same queries and keys: rows, columns and single edges, whether all of them are here or the strongest.
import type {GroupInfo, HeadInfo, Measured, Plane, RunInfo, Token} from './data';

export interface Edge {
  query: number;
  key: number;
  weight: number;
  lift: number; // weight · n_i
  norm: number; // ‖W_O (A v)‖
  effect: number; // ‖W_O Δo‖; infinity: the edge is all that its row has
  measured?: Measured;
}

/** Edges that share a query (a row) or a key (a column), heaviest first. */
export interface Edges {
  list: Edge[];
  total: number; // the mass that 100 % stands for; NaN where it is not known
  others: number; // how many edges there are besides `list`; NaN where it is not known
}

const noKey = (at: ArrayLike<number>): number => (at instanceof Uint16Array ? 0xffff : 0xffffffff);

export class Group {
  readonly queries: Token[];
  readonly keys: Token[];
  readonly complete: boolean; // every edge is here
  readonly path: number[] | null; // of attention to the source: the key that each query looked at most, all heads taken together
  private readonly special: Set<number>; // keys that the tokenizer added
  private readonly place = new Map<number, number>(); // head → row of the arrays
  private readonly linked = new Map<number, number>();
  private readonly measured = new Map<string, Measured>();
  private columns = new Map<number, Map<number, number[]>>(); // head → key → edges of `key`, made when first asked for

  constructor(
    readonly info: GroupInfo,
    run: RunInfo,
    private readonly arrays: Map<string, Plane>,
  ) {
    this.queries = run[info.queries] ?? [];
    this.keys = run[info.keys] ?? [];
    this.complete = info.detail !== 'strongest';
    this.special = new Set(run.page.special[info.keys]);
    this.path = info.kind === 'cross' && run.alignment ? run.alignment.map(a => a.source) : null;
    info.heads.forEach((head, i) => this.place.set(head, i));
    (info.linked ?? info.heads).forEach((head, i) => this.linked.set(head, i));
    const survey = run.page.surveys?.find(s => s.kind === info.kind);
    for (const [layer, head, query, key, , effect] of survey?.items ?? [])
      this.measured.set(`${layer}.${head}.${query}.${key}`, {
        metric: survey!.metric,
        effect,
        control_mean: null,
        control_sd: null,
        percentile: null,
        draws: 0,
      });
    for (const l of run.links) // with controls of their own
      if (l.measured && l.kind === info.kind) this.measured.set(`${l.layer}.${l.head}.${l.query}.${l.key}`, l.measured);
    this.heads = run.heads;
  }
  private readonly heads: HeadInfo[];

  get selfAttention(): boolean {
    return this.info.queries === this.info.keys;
  }
  get tiles(): {mass: Plane; peak: Plane; queries: number; keys: number} {
    const {queries, keys} = this.info.tile!;
    return {mass: this.arrays.get('mass')!, peak: this.arrays.get('peak')!, queries, keys};
  }
  hasRows(head: number): boolean {
    return this.linked.has(head);
  }
  isSpecial(key: number): boolean {
    return this.special.has(key);
  }
  placeOf(head: number): number {
    return this.place.get(head)!;
  }
  get anyMeasured(): boolean {
    return this.measured.size > 0;
  }

  /** n_i: how many keys the mask shows to a query. */
  visible(head: number, query: number): number {
    const mask = this.info.mask[this.placeOf(head)];
    return mask < 0 ? this.keys.length : this.arrays.get('visible')!.at[mask * this.queries.length + query];
  }
  seen(head: number, query: number, key: number): boolean {
    const mask = this.info.mask[this.placeOf(head)];
    if (mask < 0) return true;
    const {at, shape} = this.arrays.get('seen')!;
    return ((at[(mask * shape[1] + query) * shape[2] + (key >> 3)] >> (key & 7)) & 1) === 1;
  }
  /** How much of a tile the mask shows: 0 nothing, 1 a part, 2 all. */
  cover(head: number, tile: number): number {
    const mask = this.info.mask[this.placeOf(head)];
    if (mask < 0) return 2;
    const {at, shape} = this.arrays.get('cover')!;
    return at[mask * shape[1] * shape[2] + tile];
  }

  /** One weight. Only where every edge is here. */
  weight(head: number, query: number, key: number): number {
    const k = this.keys.length;
    return this.arrays.get('weight')!.at[(this.placeOf(head) * this.queries.length + query) * k + key];
  }
  /** The share of a row that lies on special tokens and learned sinks. */
  parked(head: number, query: number): number {
    if (!this.complete) return this.arrays.get('special')!.at[this.linked.get(head)! * this.queries.length + query];
    let sum = this.learnedSink(head, query);
    for (const key of this.special) sum += this.weight(head, query, key);
    return sum;
  }
  private learnedSink(head: number, query: number): number {
    const sink = this.arrays.get('sink');
    return sink ? sink.at[this.placeOf(head) * this.queries.length + query] : 0;
  }
  /** How many special keys a query sees. */
  parkedKeys(head: number, query: number): number {
    if (!this.complete) return this.special.size;
    let n = 0;
    for (const key of this.special) if (this.seen(head, query, key)) ++n;
    return n;
  }
  /** H_i in nats, the sink's share included. */
  entropy(head: number, query: number): number {
    if (!this.complete) return this.arrays.get('entropy')!.at[this.linked.get(head)! * this.queries.length + query];
    const term = (a: number): number => (a > 0 ? -a * Math.log(a) : 0);
    let sum = term(this.learnedSink(head, query));
    for (let key = 0; key < this.keys.length; ++key) sum += term(this.weight(head, query, key));
    return sum;
  }

  private edge(head: number, query: number, key: number, at: number): Edge {
    const weight = this.arrays.get('weight')!.at[at];
    const norm = this.arrays.get('value_norm')!.at[this.linked.get(head)! * this.keys.length + key];
    const {layer, head: number} = this.heads[head];
    const measured = this.measured.get(`${layer}.${number}.${query}.${key}`);
    return {
      query,
      key,
      weight,
      lift: weight * this.visible(head, query),
      norm: weight * norm,
      effect: this.arrays.get('effect')!.at[at],
      ...(measured ? {measured} : {}),
    };
  }

  row(head: number, query: number): Edges {
    const place = this.linked.get(head);
    if (place === undefined) return {list: [], total: NaN, others: NaN};
    const list: Edge[] = [],
      visible = this.visible(head, query);
    if (this.complete) {
      const start = (place * this.queries.length + query) * this.keys.length;
      for (let key = 0; key < this.keys.length; ++key)
        if (this.seen(head, query, key)) list.push(this.edge(head, query, key, start + key));
      list.sort((a, b) => b.weight - a.weight);
    } else {
      const key = this.arrays.get('key')!,
        top = key.shape[2],
        start = (place * this.queries.length + query) * top;
      for (let at = start; at < start + top && key.at[at] !== noKey(key.at); ++at)
        list.push(this.edge(head, query, key.at[at], at));
    }
    return {list, total: visible > 0 ? 1 : 0, others: visible - list.length};
  }

  column(head: number, key: number): Edges {
    const place = this.linked.get(head);
    if (place === undefined) return {list: [], total: NaN, others: NaN};
    let list: Edge[] = [];
    if (this.complete) {
      for (let query = 0; query < this.queries.length; ++query)
        if (this.seen(head, query, key))
          list.push(this.edge(head, query, key, (place * this.queries.length + query) * this.keys.length + key));
    } else {
      const top = this.arrays.get('key')!.shape[2];
      list = (this.columnsOf(head, place).get(key) ?? []).map(at =>
        this.edge(head, Math.floor(at / top) - place * this.queries.length, key, at),
      );
    }
    list.sort((a, b) => b.weight - a.weight);
    if (!this.complete) return {list, total: NaN, others: NaN};
    return {list, total: list.reduce((s, e) => s + e.weight, 0), others: 0};
  }

  private columnsOf(head: number, place: number): Map<number, number[]> {
    let columns = this.columns.get(head);
    if (columns) return columns;
    columns = new Map();
    const {at, shape} = this.arrays.get('key')!,
      size = shape[1] * shape[2];
    for (let i = place * size; i < (place + 1) * size; ++i) {
      if (at[i] === noKey(at)) continue;
      const list = columns.get(at[i]);
      list ? list.push(i) : columns.set(at[i], [i]);
    }
    this.columns.set(head, columns);
    return columns;
  }
}
