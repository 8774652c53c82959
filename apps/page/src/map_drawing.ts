// What is drawn on a map besides its pixels: links over tiles, lines between cells, the names of tokens.
import type {Token} from './data';
import {css} from './dom';
import {spelled} from './focus';
import type {Group} from './group';
import {colour, position} from './scale';
import type {State} from './state';

/** The part of the map that is shown, in tokens; fractions allowed. */
export interface Window {
  query: number;
  key: number;
  queries: number;
  keys: number;
}
/** Where it is shown, in CSS pixels. */
export interface Plot {
  x: number;
  y: number;
  width: number;
  height: number;
}
export interface Viewport {
  plot: Plot;
  window: Window;
}

export const kLeastCell = 1.5; // pixels from which a single link can be seen

export function cellOf({plot, window}: Viewport): {width: number; height: number} {
  return {width: plot.width / window.keys, height: plot.height / window.queries};
}

/** Where a cell is wide enough to be seen, the links kept stand out of their tiles. */
export function drawLinks(
  c: CanvasRenderingContext2D,
  group: Group,
  state: Readonly<State>,
  {plot, window}: Viewport,
): void {
  const {width, height} = cellOf({plot, window}),
    {head, scale, theme} = state,
    w = window;
  if (width < kLeastCell || !group.hasRows(head)) return;
  c.save();
  c.beginPath();
  c.rect(plot.x, plot.y, plot.width, plot.height);
  c.clip();
  c.globalAlpha = 0.8;
  c.fillStyle = colour(0, theme);
  c.fillRect(plot.x, plot.y, plot.width, plot.height);
  c.globalAlpha = 1;
  for (let q = Math.floor(w.query); q < Math.min(w.query + w.queries, group.queries.length); ++q)
    for (const e of group.row(head, q).list) {
      if (e.key + 1 < w.key || e.key > w.key + w.keys) continue;
      c.fillStyle = colour(position(e.weight, group.visible(head, q), scale), theme);
      c.fillRect(plot.x + (e.key - w.key) * width, plot.y + (q - w.query) * height, width, height);
    }
  c.restore();
}

export function drawGrid(c: CanvasRenderingContext2D, {plot, window}: Viewport): void {
  const {x, y, width, height} = plot,
    cell = cellOf({plot, window});
  c.strokeStyle = css('--card');
  c.lineWidth = 1;
  c.beginPath();
  for (let k = 1; k < window.keys; ++k) {
    c.moveTo(x + k * cell.width, y);
    c.lineTo(x + k * cell.width, y + height);
  }
  for (let q = 1; q < window.queries; ++q) {
    c.moveTo(x, y + q * cell.height);
    c.lineTo(x + width, y + q * cell.height);
  }
  c.stroke();
}

export function drawLabels(c: CanvasRenderingContext2D, group: Group, {plot, window}: Viewport): void {
  const {width, height} = cellOf({plot, window}),
    w = window;
  c.fillStyle = css('--soft');
  c.font = `${Math.min(12.5, Math.max(10, height * 0.55))}px ${css('--mono')}`;
  c.textBaseline = 'middle';
  const cut = (t: Token, most: number): string => {
    const s = spelled(t);
    return s.length > most ? `${s.slice(0, most - 1)}…` : s;
  };
  c.textAlign = 'right';
  for (let q = Math.ceil(w.query); q < Math.min(w.query + w.queries, group.queries.length); ++q)
    c.fillText(cut(group.queries[q], 10), plot.x - 7, plot.y + (q - w.query + 0.5) * height);
  c.textAlign = 'left';
  for (let k = Math.ceil(w.key); k < Math.min(w.key + w.keys, group.keys.length); ++k) {
    c.save();
    c.translate(plot.x + (k - w.key + 0.5) * width, plot.y - 7);
    c.rotate(-Math.PI / 3.2);
    c.fillText(cut(group.keys[k], 9), 0, 0);
    c.restore();
  }
}

/** The alignment: from query to query, through the key that each looked at most. */
export function drawPath(c: CanvasRenderingContext2D, path: number[], {plot, window}: Viewport): void {
  const {width, height} = cellOf({plot, window});
  const x = (q: number): number => plot.x + (path[q] - window.key + 0.5) * width,
    y = (q: number): number => plot.y + (q - window.query + 0.5) * height;
  const dot = Math.min(4, Math.max(1, Math.min(width, height) / 5));
  c.save();
  c.beginPath();
  c.rect(plot.x, plot.y, plot.width, plot.height);
  c.clip();
  c.lineJoin = c.lineCap = 'round';
  // A rim of the card's colour keeps it apart from cells of any colour.
  for (const [ink, rim] of [
    [css('--card'), 1.5],
    [css('--accent'), 0],
  ] as [string, number][]) {
    c.strokeStyle = c.fillStyle = ink;
    c.lineWidth = Math.min(2, dot) + 2 * rim;
    c.beginPath();
    for (let q = 0; q < path.length; ++q) c.lineTo(x(q), y(q));
    c.stroke();
    for (let q = 0; q < path.length; ++q) {
      c.beginPath();
      c.arc(x(q), y(q), dot + rim, 0, 2 * Math.PI);
      c.fill();
    }
  }
  c.restore();
}
