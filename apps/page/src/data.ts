// What `fovea look --html` put into this file: the JSON of `fovea look --json`, and arrays of weights beside it.

export interface Token {
  index: number;
  id: number;
  text: string;
  begin: number;
  end: number;
}

export interface HeadInfo {
  kind: string;
  layer: number;
  head: number;
  entropy: number;
  confidence: number;
  sink: number;
  distance: number;
  previous: number;
  normalised_entropy: number;
  special: number;
  self: number;
  next: number;
  name: string;
}

export interface Measured {
  metric: string;
  effect: number | null;
  control_mean: number | null;
  control_sd: number | null;
  percentile: number | null;
  draws: number;
}

export interface LinkInfo {
  kind: string;
  layer: number;
  head: number;
  query: number;
  key: number;
  weight: number;
  lift: number;
  norm_weighted: number;
  local_effect: number | null;
  measured?: Measured;
}

/** The text; what was written of it; what each step of writing had read. */
export type ListName = 'tokens' | 'target_tokens' | 'target_inputs';

interface ArrayInfo {
  name: string;
  dtype: string;
  shape: number[];
  offset: number;
}

export interface GroupInfo {
  kind: string;
  queries: ListName;
  keys: ListName;
  heads: number[];
  detail: 'exact' | 'rounded' | 'strongest';
  mask: number[];
  top?: number;
  linked?: number[];
  tile?: {queries: number; keys: number};
  arrays: ArrayInfo[];
}

/** Every edge of some heads, each cut alone; the largest |effect| first. */
export interface SurveyInfo {
  kind: string;
  metric: string;
  rank_correlation: {weight: number | null; local_effect: number | null};
  items: [layer: number, head: number, query: number, key: number, weight: number, effect: number | null][];
  idle: number[]; // large weight, least effect: places in items
  light: number[]; // large effect, least weight
}

export interface RunInfo {
  model: {family: string; layers: number; heads: number; kv_heads: number; head_dim: number};
  tokens: Token[];
  target_tokens?: Token[];
  target_inputs?: Token[];
  alignment?: {target: number; source: number; weight: number}[];
  text: string;
  heads: HeadInfo[];
  links: LinkInfo[];
  proof: {max_abs_error: number | null};
  page: {
    program: string;
    special: Partial<Record<ListName, number[]>>;
    proofs: (number | null)[];
    open: {queries: number[]};
    groups: GroupInfo[];
    surveys?: SurveyInfo[];
  };
}

/** f16 bits to a number (IEEE 754 binary16). */
function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1,
    exponent = (bits >> 10) & 31,
    fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}

export type Numbers = Float32Array | Uint32Array | Uint16Array | Uint8Array;
export interface Plane {
  shape: number[];
  at: Numbers;
}

function decode(base64: string): ArrayBuffer {
  const text = atob(base64),
    bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; ++i) bytes[i] = text.charCodeAt(i);
  return bytes.buffer;
}

function plane(info: ArrayInfo, buffer: ArrayBuffer): Plane {
  const count = info.shape.reduce((a, b) => a * b, 1),
    {shape, offset} = info;
  switch (info.dtype) {
    case 'F32':
      return {shape, at: new Float32Array(buffer, offset, count)};
    case 'U32':
      return {shape, at: new Uint32Array(buffer, offset, count)};
    case 'U16':
      return {shape, at: new Uint16Array(buffer, offset, count)};
    case 'U8':
      return {shape, at: new Uint8Array(buffer, offset, count)};
    case 'F16':
      return {shape, at: Float32Array.from(new Uint16Array(buffer, offset, count), half)};
    default:
      throw new Error(`an array of ${info.dtype}`);
  }
}

function element(id: string): string {
  const found = document.getElementById(id);
  if (!found) throw new Error(`this file holds no ${id}`);
  const text = found.textContent ?? '';
  found.remove(); // megabytes that nothing else reads
  return text;
}

export function read(): {run: RunInfo; arrays: Map<string, Plane>[]} {
  const run = JSON.parse(element('run')) as RunInfo;
  const buffer = decode(element('arrays').trim());
  const arrays = run.page.groups.map(g => new Map(g.arrays.map(a => [a.name, plane(a, buffer)])));
  return {run, arrays};
}
