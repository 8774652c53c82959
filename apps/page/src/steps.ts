// The steps in which a text was written, one after the other: a slider over them.
import type {RunInfo, Token} from './data';
import {h} from './dom';
import {spelled} from './focus';
import type {Group} from './group';
import {stepOf} from './state';
import type {State, Store} from './state';

export class Steps {
  private readonly written: Token[];
  private readonly slider = h('input', {id: 'step', type: 'range', min: 0, 'aria-label': 'Step of writing'});
  private readonly said = h('output', {id: 'step-said', for: 'step'});
  readonly box = h('div', {class: 'steps'}, h('label', {for: 'step'}, 'step'), this.slider, this.said);
  private writing: number; // the head of the steps' own that was open last

  constructor(
    run: RunInfo,
    private readonly store: Store,
    private readonly groupOf: (head: number) => Group,
  ) {
    this.written = run.target_tokens!;
    const looks = run.page.groups.filter(g => g.queries === 'target_tokens'),
      cross = looks.find(g => g.kind === 'cross') ?? looks[0];
    this.writing = cross?.heads[0] ?? -1;
    this.box.hidden = this.writing < 0;
    this.slider.max = String(this.written.length - 1);
    this.slider.value = '0';
    this.slider.addEventListener('input', () => this.go(Number(this.slider.value)));
  }

  move(by: number): void {
    if (this.writing < 0) return;
    const at = stepOf(this.store.state),
      to = at === null ? 0 : at + by;
    if (to >= 0 && to < this.written.length) this.go(to);
  }

  /** What the text looks at is none of a step's business: then the head of a step that was open last is opened again. */
  private go(index: number): void {
    const own = this.groupOf(this.store.state.head).info.queries === 'target_tokens';
    this.store.set({
      pinned: [{list: 'target_tokens', index}],
      hover: null,
      ...(own ? {} : {head: this.writing}),
    });
  }

  update(state: Readonly<State>): void {
    if (this.groupOf(state.head).info.queries === 'target_tokens') this.writing = state.head;
    const step = stepOf(state),
      of = this.written.length;
    if (step !== null) this.slider.value = String(step);
    const text = step === null ? `${of} steps wrote it` : `${step + 1} of ${of} writes ${spelled(this.written[step])}`;
    this.said.textContent = text;
    this.slider.setAttribute('aria-valuetext', text);
  }
}
