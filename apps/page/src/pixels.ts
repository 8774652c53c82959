// One head as pixels: one for each edge where all are here, else one for each tile. Thumbnails and the map share it.
import type {Group} from './group';
import {colours, position, Scale, Theme} from './scale';

export interface Picture {
  image: HTMLCanvasElement; // a pixel for each edge or tile; what the mask hides is transparent
  across: number;
  down: number;
  hidden: boolean; // whether anything is
}

export interface Look {
  scale: Scale;
  bare: boolean;
  theme: Theme;
}

export function picture(group: Group, head: number, look: Look): Picture {
  const {mass} = group.complete ? {mass: null} : group.tiles;
  const down = mass ? mass.shape[1] : group.queries.length,
    across = mass ? mass.shape[2] : group.keys.length;
  const image = document.createElement('canvas');
  image.width = across;
  image.height = down;
  const context = image.getContext('2d')!,
    pixels = context.createImageData(across, down);
  const hidden = (mass ? paintTiles : paintEdges)(group, head, look, pixels.data);
  context.putImageData(pixels, 0, 0);
  return {image, across, down, hidden};
}

function put(data: Uint8ClampedArray, at: number, t: number, ramp: Uint8Array): void {
  const colour = 3 * Math.round(255 * t);
  for (let c = 0; c < 3; ++c) data[4 * at + c] = ramp[colour + c];
  data[4 * at + 3] = 255;
}

function paintEdges(group: Group, head: number, look: Look, data: Uint8ClampedArray): boolean {
  const ramp = colours(look.theme),
    keys = group.keys.length;
  let hidden = false;
  for (let q = 0; q < group.queries.length; ++q) {
    const left = look.bare ? 1 - group.parked(head, q) : 1;
    const n = group.visible(head, q) - (look.bare ? group.parkedKeys(head, q) : 0);
    for (let k = 0; k < keys; ++k) {
      if (!group.seen(head, q, k)) hidden = true;
      else if (look.bare && group.isSpecial(k)) put(data, q * keys + k, 0, ramp);
      else
        put(
          data,
          q * keys + k,
          position(left > 0 ? Math.min(group.weight(head, q, k) / left, 1) : 0, n, look.scale),
          ramp,
        );
    }
  }
  return hidden;
}

/** Lift: the mean over the tile. Linear: its largest weight, which a mean would bury. */
function paintTiles(group: Group, head: number, look: Look, data: Uint8ClampedArray): boolean {
  const ramp = colours(look.theme),
    {mass, peak, keys} = group.tiles,
    n = group.keys.length;
  const across = mass.shape[2],
    size = mass.shape[1] * across,
    start = group.placeOf(head) * size;
  let hidden = false;
  for (let t = 0; t < size; ++t) {
    if (group.cover(head, t) === 0) {
      hidden = true;
      continue;
    }
    const width = Math.min(keys, n - (t % across) * keys);
    put(
      data,
      t,
      look.scale === 'linear'
        ? position(peak.at[start + t], n, 'linear')
        : position(mass.at[start + t] / width, n, 'lift'),
      ramp,
    );
  }
  return hidden;
}

/** What stands where a mask forbids: lines, apart from a weight near zero. */
export function hatch(context: CanvasRenderingContext2D, ink: string, step: number): CanvasPattern {
  const tile = document.createElement('canvas');
  tile.width = tile.height = step;
  const c = tile.getContext('2d')!;
  c.strokeStyle = ink;
  c.lineWidth = 1;
  c.beginPath();
  for (const shift of [-step, 0, step]) {
    c.moveTo(shift, step);
    c.lineTo(shift + step, 0);
  }
  c.stroke();
  return context.createPattern(tile, 'repeat')!;
}

/** The picture on a canvas, hatched behind what is transparent. */
export function draw(
  context: CanvasRenderingContext2D,
  p: Picture,
  x: number,
  y: number,
  width: number,
  height: number,
  ink: string,
  window?: {x: number; y: number; width: number; height: number},
): void {
  if (p.hidden) {
    context.fillStyle = hatch(context, ink, 6);
    context.fillRect(x, y, width, height);
  }
  const w = window ?? {x: 0, y: 0, width: p.across, height: p.down};
  context.imageSmoothingEnabled = width < w.width; // only where pixels must be joined
  context.drawImage(p.image, w.x, w.y, w.width, w.height, x, y, width, height);
}
