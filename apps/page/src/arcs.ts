// Curves between tokens and figures below them, on a layer over the text: drawing them never moves the text, so that a text of thousands of
// tokens is laid out once and not with every step of the pointer.
import {svg} from './dom';

const kLabelWidth = 30; // pixels of "99%" and some air

interface Box {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

export class Arcs {
  readonly layer = svg('svg', {class: 'arcs', 'aria-hidden': 'true'}); // beside the strip, in a box of the same size
  private readonly boxes = new Map<HTMLElement, Box>(); // relative to the strip

  constructor(private readonly strip: HTMLElement) {}

  private labels: Box[] = [];

  clear(): void {
    this.layer.replaceChildren();
    this.labels = [];
  }
  /** The text was laid out anew. */
  forget(): void {
    this.boxes.clear();
  }

  boxOf(token: HTMLElement): Box {
    let box = this.boxes.get(token);
    if (!box) {
      const origin = this.strip.getBoundingClientRect(),
        at = token.getBoundingClientRect();
      box = {
        left: at.left - origin.left,
        right: at.right - origin.left,
        top: at.top - origin.top,
        bottom: at.bottom - origin.top,
      };
      this.boxes.set(token, box);
    }
    return box;
  }

  /** weight and strength, the weight's share of the heaviest, 0 to 1. Within one line arcs go above it; between lines they go from edge to edge. */
  add(from: Box, to: Box, weight: number, strength: number): void {
    const x1 = (from.left + from.right) / 2,
      x2 = (to.left + to.right) / 2;
    const arc = svg('path', {
      d:
        Math.abs(from.top - to.top) < (from.bottom - from.top) / 2
          ? above(x1, x2, Math.min(from.top, to.top))
          : between(x1, x2, from, to),
    });
    arc.style.setProperty('--weight', Math.min(weight, 1).toFixed(3));
    arc.style.setProperty('--strength', strength.toFixed(3));
    this.layer.append(arc);
  }

  /** The first one told has the place, where two would stand in each other's way. */
  label(below: Box, text: string): void {
    const middle = (below.left + below.right) / 2;
    if (this.labels.some(l => l.top === below.top && Math.abs((l.left + l.right) / 2 - middle) < kLabelWidth)) return;
    this.labels.push(below);
    const label = svg('text', {x: middle, y: below.bottom + 11});
    label.textContent = text;
    this.layer.append(label);
  }
}

function above(x1: number, x2: number, y: number): string {
  if (x1 === x2) return `M${x1 - 5} ${y} C${x1 - 20} ${y - 30} ${x1 + 20} ${y - 30} ${x1 + 5} ${y}`;
  const rise = Math.min(14 + 0.3 * Math.abs(x2 - x1), Math.max(y - 4, 22) / 0.75);
  return `M${x1} ${y} C${x1} ${y - rise} ${x2} ${y - rise} ${x2} ${y}`;
}

function between(x1: number, x2: number, from: Box, to: Box): string {
  const down = to.top > from.top,
    y1 = down ? from.bottom : from.top,
    y2 = down ? to.top : to.bottom;
  const reach = Math.max(24, Math.abs(y2 - y1) / 2) * (down ? 1 : -1);
  return `M${x1} ${y1} C${x1} ${y1 + reach} ${x2} ${y2 - reach} ${x2} ${y2}`;
}
