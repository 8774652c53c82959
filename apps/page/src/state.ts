// What is chosen. One object, one way to change it; views are told once a frame.
import type {ListName} from './data';
import type {Scale, Theme} from './scale';

export interface Place {
  list: ListName;
  index: number;
}

export interface State {
  head: number; // index into run.heads
  pinned: Place[]; // of one list; several: their sum
  hover: Place | null;
  inverse: boolean; // who attends to it, instead of what it attends to
  scale: Scale;
  bare: boolean; // without special tokens and learned sinks
  path: boolean; // the alignment over the map of attention to the source
  theme: Theme;
  sort: string; // of the atlas
  allRows: boolean; // the inspector shows more than the arcs
}

/** The step of writing that is looked at alone. */
export function stepOf({pinned}: Readonly<State>): number | null {
  return pinned.length === 1 && pinned[0].list === 'target_tokens' ? pinned[0].index : null;
}

export type Changed = ReadonlySet<keyof State>;
type View = (state: Readonly<State>, changed: Changed) => void;

export class Store {
  private readonly views: View[] = [];
  private changed = new Set<keyof State>();
  private waiting = false;

  constructor(private current: State) {}
  get state(): Readonly<State> {
    return this.current;
  }

  watch(view: View): void {
    this.views.push(view);
  }

  set(change: Partial<State>): void {
    for (const name of Object.keys(change) as (keyof State)[])
      if (this.current[name] !== change[name]) this.changed.add(name);
    this.current = {...this.current, ...change};
    if (this.waiting || this.changed.size === 0) return;
    this.waiting = true;
    requestAnimationFrame(() => this.tell());
  }

  /** Draws now what would be drawn with the next frame: before printing there is none. */
  tell(everything = false): void {
    this.waiting = false;
    const changed: Changed = everything ? new Set(Object.keys(this.current) as (keyof State)[]) : this.changed;
    this.changed = new Set();
    if (changed.size > 0) for (const view of this.views) view(this.current, changed);
  }

  pin(place: Place, add: boolean): void {
    const {pinned} = this.current;
    const there = pinned.some(p => p.list === place.list && p.index === place.index);
    const same = pinned.filter(p => p.list === place.list);
    if (add) this.set({pinned: there ? same.filter(p => p.index !== place.index) : [...same, place]});
    else this.set({pinned: there && pinned.length === 1 ? [] : [place]});
  }
}
