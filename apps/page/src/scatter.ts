// Weight against measured effect, every edge a point: what was looked at, and whether it mattered.
import type {RunInfo, SurveyInfo} from './data';
import {css, h, hideTip, showTip, sized} from './dom';
import {spelled} from './focus';
import type {Group} from './group';
import {headName} from './atlas';
import {effectText, weightText} from './scale';
import type {State, Store} from './state';

type Item = SurveyInfo['items'][number];

const kHeight = 260,
  kLeft = 62,
  kBottom = 34,
  kTop = 10,
  kRight = 14,
  kDecades = 4, // of effects, below the largest
  kReach = 12; // pixels from the pointer to a point

export class Scatter {
  private readonly canvas = h('canvas', {'aria-hidden': 'true'});
  private readonly box = h('div', {class: 'map-box scatter-box'}, this.canvas);
  private readonly lists = h('div', {class: 'disagreements'});
  private readonly caption = h('p', {class: 'caption', id: 'scatter-said'});
  private survey: SurveyInfo | null = null;
  private group: Group | null = null;
  private points: {x: number; y: number; item: Item}[] = [];

  constructor(
    private readonly place: HTMLElement,
    private readonly run: RunInfo,
    private readonly store: Store,
  ) {
    place.append(
      h(
        'div',
        {class: 'heading'},
        h('h2', {id: 'scatter-title'}, 'Weight against effect ', h('small', {}, 'every edge, cut alone')),
      ),
      this.box,
      this.lists,
      this.caption,
    );
    this.box.addEventListener('mousemove', e => this.move(e));
    this.box.addEventListener('mouseleave', hideTip);
    this.box.addEventListener('click', e => {
      const near = this.near(e);
      if (near) this.show(near);
    });
    new ResizeObserver(() => this.draw(this.store.state)).observe(place);
  }

  update(state: Readonly<State>, group: Group, repaint: boolean): void {
    const survey = this.run.page.surveys?.find(s => s.kind === group.info.kind) ?? null;
    this.place.hidden = survey === null;
    this.group = group;
    if (survey !== this.survey) {
      this.survey = survey;
      if (survey) this.describe(survey);
    }
    if (survey && repaint) this.draw(state);
  }

  private describe(survey: SurveyInfo): void {
    const buttons = (title: string, places: number[]): HTMLElement =>
      h(
        'p',
        {},
        h('b', {}, title),
        ...places.map(i => {
          const item = survey.items[i];
          return h('button', {type: 'button', class: 'toggle', 'data-item': i, click: () => this.show(item)}, this.name(item));
        }),
      );
    this.lists.replaceChildren(
      buttons('large weight, least effect', survey.idle),
      buttons('large effect, least weight', survey.light),
    );
    const rho = survey.rank_correlation.weight;
    this.caption.textContent = `${survey.items.length.toLocaleString('en')} edges; effect on ${survey.metric.replace('_', '-')}, in size. ${
      rho === null ? '' : `Rank correlation of weight and effect: ${rho.toFixed(2)}. `
    }Points of the open head stand out; a click opens a point’s head and row.`;
  }

  private name([layer, head, query, key, weight, effect]: Item): string {
    const group = this.group!;
    return `${spelled(group.queries[query])} → ${spelled(group.keys[key])} in ${layer}·${head}: weight ${weightText(weight)}, effect ${this.effect(effect)}`;
  }
  private effect(x: number | null): string {
    return x === null ? '–' : x < 0 ? `−${effectText(-x)}` : effectText(x);
  }
  private headOf([layer, head]: Item): number {
    return this.run.heads.findIndex(x => x.kind === this.survey!.kind && x.layer === layer && x.head === head);
  }
  private show(item: Item): void {
    this.store.set({head: this.headOf(item), pinned: [{list: this.group!.info.queries, index: item[2]}], inverse: false});
  }

  private draw(state: Readonly<State>): void {
    const survey = this.survey;
    if (!survey || this.place.hidden) return;
    const width = Math.max(this.place.clientWidth - 32, 160),
      c = sized(this.canvas, width, kHeight);
    const most = Math.max(...survey.items.map(i => Math.abs(i[5] ?? 0)), 1e-12),
      top = Math.log10(most);
    const x = (weight: number): number => kLeft + weight * (width - kLeft - kRight);
    const y = (effect: number): number => {
      const at = Math.max(0, (Math.log10(Math.max(effect, 1e-30)) - top + kDecades) / kDecades);
      return kHeight - kBottom - at * (kHeight - kBottom - kTop);
    };
    c.font = `11px ${css('--mono')}`;
    c.fillStyle = css('--soft');
    c.strokeStyle = css('--line');
    c.textBaseline = 'middle';
    for (let d = 0; d <= kDecades; ++d) {
      const value = most * 10 ** -d;
      c.textAlign = 'right';
      c.fillText(d === kDecades ? `≤${value.toExponential(0)}` : effectText(value), kLeft - 8, y(value));
      c.strokeRect(kLeft, Math.round(y(value)) + 0.5, width - kLeft - kRight, 0);
    }
    c.textAlign = 'center';
    for (const w of [0, 0.25, 0.5, 0.75, 1]) c.fillText(String(w), x(w), kHeight - kBottom + 12);
    c.fillText('weight', x(0.5), kHeight - 8);
    const open = this.run.heads[state.head];
    this.points = survey.items.map(item => ({x: x(item[4]), y: y(Math.abs(item[5] ?? 0)), item}));
    for (const own of [false, true]) {
      c.fillStyle = css(own ? '--accent' : '--soft');
      c.globalAlpha = own ? 0.9 : 0.3;
      for (const p of this.points) {
        if ((p.item[0] === open.layer && p.item[1] === open.head) !== own) continue;
        c.beginPath();
        c.arc(p.x, p.y, own ? 3 : 2, 0, 2 * Math.PI);
        c.fill();
      }
    }
    c.globalAlpha = 1;
  }

  private near(event: MouseEvent): Item | null {
    const box = this.canvas.getBoundingClientRect();
    let best: Item | null = null,
      least = kReach;
    for (const p of this.points) {
      const apart = Math.hypot(p.x - (event.clientX - box.left), p.y - (event.clientY - box.top));
      if (apart < least) {
        least = apart;
        best = p.item;
      }
    }
    return best;
  }
  private move(event: MouseEvent): void {
    const item = this.near(event);
    if (!item) return hideTip();
    const [query, key] = [this.group!.queries[item[2]], this.group!.keys[item[3]]];
    showTip(event.clientX, event.clientY, [
      `${spelled(query)} → ${spelled(key)}`,
      `head ${headName(this.run.heads[this.headOf(item)])}`,
      `weight ${weightText(item[4])} · effect ${this.effect(item[5])}`,
    ]);
  }
}
