// From a weight to a colour, and from a number to what a person reads.

export type Scale = 'lift' | 'linear';

/** Lift is drawn from a tenth of a uniform share to everything: log10, the same range for every head of the page. */
export const kLeastLift = 0.1;

/** Where a weight stands on the scale, 0 to 1. `n` keys share it. */
export function position(weight: number, n: number, scale: Scale): number {
  if (scale === 'linear') return Math.min(Math.max(weight, 0), 1);
  const low = Math.log10(kLeastLift),
    high = Math.log10(Math.max(n, 2));
  return Math.min(Math.max((Math.log10(weight * n) - low) / (high - low), 0), 1);
}

// Ramps whose lightness changes by even steps, so that they read without colour, in print and by colour-blind eyes; the hue goes from
// violet over blue and green to yellow, never between red and green. Anchors: OKLCH lightness, chroma, hue (Ottosson 2020).
const kDark = [
  [0.215, 0.03, 285],
  [0.36, 0.105, 282],
  [0.52, 0.115, 245],
  [0.68, 0.115, 190],
  [0.83, 0.155, 140],
  [0.95, 0.17, 106],
];
const kLight = [
  [0.985, 0.012, 106],
  [0.93, 0.075, 118],
  [0.8, 0.105, 160],
  [0.64, 0.115, 215],
  [0.47, 0.13, 262],
  [0.3, 0.125, 288],
];

function srgb([l, c, h]: number[]): number[] {
  const a = c * Math.cos((h * Math.PI) / 180),
    b = c * Math.sin((h * Math.PI) / 180);
  const [x, y, z] = [
    l + 0.3963377774 * a + 0.2158037573 * b,
    l - 0.1055613458 * a - 0.0638541728 * b,
    l - 0.0894841775 * a - 1.291485548 * b,
  ].map(v => v ** 3);
  return [
    4.0767416621 * x - 3.3077115913 * y + 0.2309699292 * z,
    -1.2684380046 * x + 2.6097574011 * y - 0.3413193965 * z,
    -0.0041960863 * x - 0.7034186147 * y + 1.707614701 * z,
  ]
    .map(v => Math.min(Math.max(v, 0), 1))
    .map(v => Math.round(255 * (v <= 0.0031308 ? 12.92 * v : 1.055 * v ** (1 / 2.4) - 0.055)));
}

function ramp(anchors: number[][]): Uint8Array {
  const colours = new Uint8Array(256 * 3);
  for (let i = 0; i < 256; ++i) {
    const x = (i / 255) * (anchors.length - 1),
      k = Math.min(Math.floor(x), anchors.length - 2),
      t = x - k;
    colours.set(srgb(anchors[k].map((v, c) => v + t * (anchors[k + 1][c] - v))), 3 * i);
  }
  return colours;
}

const ramps = {dark: ramp(kDark), light: ramp(kLight)};
export type Theme = keyof typeof ramps;

export function colours(theme: Theme): Uint8Array {
  return ramps[theme];
}
export function colour(t: number, theme: Theme): string {
  const at = 3 * Math.round(255 * t),
    r = ramps[theme];
  return `rgb(${r[at]} ${r[at + 1]} ${r[at + 2]})`;
}
/** Black or white, whichever reads better on that colour. */
export function inkOn(t: number, theme: Theme): string {
  const at = 3 * Math.round(255 * t),
    r = ramps[theme];
  const [x, y, z] = [r[at], r[at + 1], r[at + 2]].map(v =>
    v <= 10 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4,
  );
  return 0.2126 * x + 0.7152 * y + 0.0722 * z > 0.2 ? '#0b0d12' : '#ffffff';
}

/** Two to three digits, and never 0% or 100% for what is only near it. */
export function percent(share: number): string {
  if (Number.isNaN(share)) return '–';
  const p = 100 * share;
  if (p > 0 && p < 0.05) return '<0.1%';
  if (p < 100 && p >= 99.95) return '>99.9%';
  return `${p < 9.95 || (p > 99.05 && p < 99.95) ? p.toFixed(1) : p.toFixed(0)}%`;
}
export function weightText(w: number): string {
  return w >= 0.0995 || w === 0 ? w.toFixed(3) : w < 0.0001 ? w.toExponential(1) : w.toFixed(4);
}
export function liftText(l: number): string {
  return `${l < 9.95 ? l.toFixed(l < 0.095 ? 2 : 1) : Math.round(l).toLocaleString('en')}×`;
}
export function effectText(e: number): string {
  return e === Infinity ? 'all it had' : e > 0 && e < 0.0005 ? e.toExponential(0) : e.toFixed(3);
}
export function errorText(e: number | null): string {
  return e === null ? 'not a number' : e.toExponential(1);
}
export function countText(n: number): string {
  return Math.round(n).toLocaleString('en');
}
