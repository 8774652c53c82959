// The text, token by token: keys shaded by what looks at them, arcs to the strongest.
import type {ListName, RunInfo, Token} from './data';
import {announce, h, hideTip, showTip} from './dom';
import {Arcs} from './arcs';
import {coverage, Focus, names, spelled} from './focus';
import type {Group} from './group';
import {colour, inkOn, liftText, percent, position, weightText} from './scale';
import {stepOf} from './state';
import type {Place, State, Store} from './state';

/** One list of tokens as running text. */
class Strip {
  readonly box = h('div', {class: 'strip'});
  readonly arcs = new Arcs(this.box);
  readonly sheet: HTMLElement;
  readonly tokens: HTMLElement[] = [];
  private shaded: HTMLElement[] = [];

  constructor(
    readonly list: ListName,
    tokens: Token[],
    text: string | null,
    label: string,
    name: string,
  ) {
    this.sheet = h('div', {class: 'sheet'}, h('span', {class: 'which', 'aria-hidden': 'true'}, name), this.box, this.arcs.layer);
    this.box.setAttribute('role', 'listbox');
    this.box.setAttribute('aria-label', label);
    this.box.setAttribute('aria-multiselectable', 'true');
    text === null ? this.asPieces(tokens) : this.asText(tokens, text);
    this.tokens.forEach((t, i) => {
      t.dataset['i'] = String(i);
      t.setAttribute('role', 'option');
      t.tabIndex = i === 0 ? 0 : -1;
    });
  }

  private asPieces(tokens: Token[]): void {
    for (const t of tokens) {
      this.add(spelled(t), 'piece');
      this.box.append(' ');
    }
  }

  /** begin and end count bytes of UTF-8. What lies between tokens is shown as it stands. */
  private asText(tokens: Token[], text: string): void {
    const bytes = new TextEncoder().encode(text),
      decoder = new TextDecoder();
    const last = tokens.reduce((at, t, i) => (t.begin < t.end ? i : at), -1);
    let done = 0;
    tokens.forEach((t, i) => {
      if (t.begin >= t.end || t.begin < done) {
        // added by the tokenizer, or a part of a character that is already shown
        this.add(t.text, 'added');
        return;
      }
      if (t.begin > done) this.box.append(decoder.decode(bytes.subarray(done, t.begin)));
      this.add(decoder.decode(bytes.subarray(t.begin, t.end)), t.begin === done && done > 0 ? 'joined' : '');
      done = t.end;
      const rest = i === last ? decoder.decode(bytes.subarray(done)) : '';
      if (rest && !rest.trim()) {
        this.box.append(rest);
        done = bytes.length;
      } // white space, and only then what the tokenizer puts at the end
    });
    if (done < bytes.length)
      this.box.append(
        h('span', {class: 'unread', title: 'not read by the model'}, decoder.decode(bytes.subarray(done))),
      );
  }

  private add(text: string, kind: string): void {
    const token = h('span', {class: `token ${kind}`}, text);
    this.tokens.push(token);
    this.box.append(token);
  }

  /** Only what changes is touched: a page of 8,192 tokens has as many elements. */
  clear(): void {
    for (const t of this.shaded) {
      t.style.removeProperty('background');
      t.style.removeProperty('color');
    }
    this.shaded = [];
  }
  shade(index: number, t: number, state: Readonly<State>): void {
    const token = this.tokens[index];
    token.style.background = colour(t, state.theme);
    token.style.color = inkOn(t, state.theme);
    this.shaded.push(token);
  }
  /** Gives a class to these tokens alone. */
  mark(name: 'pinned' | 'from', indices: number[]): void {
    for (const t of this.marked[name]) {
      t.classList.remove(name);
      t.setAttribute('aria-selected', 'false');
    }
    this.marked[name] = indices.map(i => this.tokens[i]);
    for (const t of this.marked[name]) t.classList.add(name);
    for (const t of this.marked.pinned) t.setAttribute('aria-selected', 'true');
  }
  /** Tokens from `first` on were not written yet. */
  fade(first: number): void {
    if (first === this.faded) return;
    this.tokens.forEach((t, i) => t.classList.toggle('ahead', i >= first));
    this.faded = first;
  }
  private faded = Infinity;
  private readonly marked = {pinned: [] as HTMLElement[], from: [] as HTMLElement[]};
}

export class TextView {
  private readonly strips = new Map<ListName, Strip>();
  private readonly caption = h('p', {class: 'caption', id: 'coverage'});
  private readonly title = h('h2', {id: 'text-title'}, 'Text');

  constructor(
    place: HTMLElement,
    private readonly run: RunInfo,
    private readonly store: Store,
    inverse: HTMLElement,
    steps?: HTMLElement,
  ) {
    const scroll = h('div', {class: 'scroll'});
    const add = (list: ListName, text: string | null, label: string, name: string): void => {
      const strip = new Strip(list, run[list]!, text, label, name);
      this.strips.set(list, strip);
      scroll.append(strip.sheet);
      this.listen(strip);
    };
    add('tokens', run.text, 'Tokens of the text', run.target_tokens ? 'read' : '');
    if (run.page.groups.some(g => g.keys === 'target_inputs'))
      add('target_inputs', null, 'What each step had read', 'what each step had read');
    if (run.target_tokens) add('target_tokens', null, 'Tokens of the output', 'written');
    place.append(h('div', {class: 'heading'}, this.title, inverse), ...(steps ? [steps] : []), scroll, this.caption);
    place.classList.add(run.tokens.length > 160 ? 'long' : run.tokens.length > 36 ? 'middling' : 'short');
  }

  private listen(strip: Strip): void {
    const index = (event: Event): number | null => {
      const token = (event.target as HTMLElement).closest<HTMLElement>('.token');
      return token ? Number(token.dataset['i']) : null;
    };
    const at = (i: number): Place => ({list: strip.list, index: i});
    strip.box.addEventListener('mouseover', event => {
      const i = index(event);
      if (i === null) return;
      this.store.set({hover: at(i)});
      this.tip(strip, i);
    });
    strip.box.addEventListener('mouseleave', () => {
      this.store.set({hover: null});
      hideTip();
    });
    strip.box.addEventListener('click', event => {
      const i = index(event);
      if (i === null) return;
      this.store.pin(at(i), event.shiftKey);
      this.rove(strip, i);
    });
    strip.box.addEventListener('focusin', event => {
      const i = index(event);
      if (i !== null && (event.target as HTMLElement).matches(':focus-visible')) this.store.set({hover: at(i)});
    });
    strip.box.addEventListener('keydown', event => this.key(event, strip, index(event)));
  }

  private key(event: KeyboardEvent, strip: Strip, i: number | null): void {
    if (i === null || event.ctrlKey || event.metaKey) return;
    const last = strip.tokens.length - 1;
    const to: Record<string, number> = {
      ArrowLeft: i - 1,
      ArrowRight: i + 1,
      ArrowUp: this.line(strip, i, -1),
      ArrowDown: this.line(strip, i, 1),
      Home: 0,
      End: last,
    };
    if (event.key in to) {
      event.preventDefault();
      this.rove(strip, Math.min(Math.max(to[event.key], 0), last));
    } else if (event.key === 'Enter' || event.key === ' ') {
      event.preventDefault();
      this.store.pin({list: strip.list, index: i}, event.shiftKey);
    }
  }

  /** The token on the line above or below that is nearest; tokens stand in the order of their lines. */
  private line(strip: Strip, from: number, by: number): number {
    const here = strip.tokens[from].getBoundingClientRect();
    let best = from,
      nearest = Infinity,
      top: number | null = null;
    for (let i = from + by; i >= 0 && i < strip.tokens.length; i += by) {
      const r = strip.tokens[i].getBoundingClientRect();
      if (Math.abs(r.top - here.top) < here.height / 2) continue;
      top ??= r.top;
      if (Math.abs(r.top - top) > here.height / 2) break;
      const apart = Math.abs(r.left - here.left);
      if (apart < nearest) {
        nearest = apart;
        best = i;
      }
    }
    return best;
  }

  private rove(strip: Strip, i: number): void {
    for (const t of strip.box.querySelectorAll<HTMLElement>('.token[tabindex="0"]')) t.tabIndex = -1;
    strip.tokens[i].tabIndex = 0;
    strip.tokens[i].focus({preventScroll: false});
  }

  /** With something pinned, the pointer asks for single links of it. */
  private tip(strip: Strip, i: number): void {
    const box = strip.tokens[i].getBoundingClientRect();
    const focus = this.focus,
      token = this.run[strip.list]![i];
    if (!focus || this.store.state.pinned.length === 0) return hideTip();
    const other = focus.others.find(o => o.index === i);
    const arrow = focus.inverse
      ? `${spelled(token)} → ${names(this.run, focus.from)}`
      : `${names(this.run, focus.from)} → ${spelled(token)}`;
    const value = other
      ? `weight ${weightText(other.weight)}, lift ${liftText(other.lift)}`
      : 'not among the links kept in this file';
    showTip(box.left, box.bottom - 10, [arrow, value]);
  }
  private focus: Focus | null = null;

  update(state: Readonly<State>, group: Group, focus: Focus | null, moved: boolean): void {
    this.focus = focus;
    const step = stepOf(state);
    for (const strip of this.strips.values()) {
      strip.sheet.hidden = strip.list === 'target_inputs' && group.info.keys !== 'target_inputs';
      if (strip.list !== 'tokens') strip.fade(step === null ? Infinity : step + 1);
      strip.clear();
      strip.arcs.clear();
      strip.mark(
        'pinned',
        state.pinned.filter(p => p.list === strip.list).map(p => p.index),
      );
      strip.mark('from', focus ? focus.from.filter(p => p.list === strip.list).map(p => p.index) : []);
    }
    if (!focus) {
      this.title.textContent = 'Text';
      this.caption.textContent =
        'Point at a token to see what it looks at; hold Alt to see what looks at it. Click pins, Shift-click adds.';
      return;
    }
    const sides: [ListName, ListName] = focus.inverse
      ? [group.info.keys, group.info.queries]
      : [group.info.queries, group.info.keys];
    const near = this.strips.get(sides[0])!,
      far = this.strips.get(sides[1])!;
    const arcs = focus.others.slice(0, focus.shown),
      most = arcs[0]?.weight ?? 1;
    for (const p of focus.from.slice(0, 4))
      for (const o of arcs)
        this.arc(near, near.tokens[p.index], far, far.tokens[o.index], o.weight / focus.from.length, o.weight / most);
    for (const o of arcs) far.arcs.label(far.arcs.boxOf(far.tokens[o.index]), percent(o.weight / focus.from.length));
    this.shade(state, group, focus, far);
    const who = names(this.run, focus.from),
      verb = focus.inverse ? 'is looked at by' : focus.from.length > 1 ? 'look at' : 'looks at';
    this.title.replaceChildren(h('em', {}, who), ` ${verb} …`);
    this.caption.textContent = focus.missing
      ? 'No rows of this head are in this file, only its map; a page made with --layer and --head for it alone has them.'
      : `${coverage(focus, percent)}${state.bare ? '; without special tokens, the rest scaled up to 100%' : ''}`;
    if (moved)
      announce(
        `${who} ${verb} ${arcs
          .slice(0, 5)
          .map(o => `${spelled(this.run[far.list]![o.index])} ${percent(o.weight)}`)
          .join(', ')}. ${this.caption.textContent}`,
      );
  }

  private arc(near: Strip, from: HTMLElement, far: Strip, to: HTMLElement, weight: number, strength: number): void {
    const a = near.arcs.boxOf(from),
      b = far.arcs.boxOf(to),
      down = near === far ? 0 : far.sheet.offsetTop - near.sheet.offsetTop;
    near.arcs.add(a, {...b, top: b.top + down, bottom: b.bottom + down}, weight, strength);
  }

  /** The text was laid out anew: a window of another size. */
  forget(): void {
    for (const strip of this.strips.values()) strip.arcs.forget();
  }

  private shade(state: Readonly<State>, group: Group, focus: Focus, far: Strip): void {
    const many = focus.from.length;
    for (const o of focus.others) {
      const uniform = o.lift > 0 ? o.weight / o.lift : 0;
      const n = uniform > 0 ? many / uniform : group.keys.length;
      const t = position(o.weight / many, n, state.scale);
      far.shade(o.index, t, state);
    }
  }

  reveal(place: Place): void {
    this.strips.get(place.list)?.tokens[place.index].scrollIntoView({block: 'center', behavior: 'auto'});
  }
}
