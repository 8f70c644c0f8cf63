/** JSON whose whole numbers keep all their digits: seeds go to 2^64, JavaScript's numbers are exact to 2^53.
 * Beyond that a value is a bigint in memory and plain digits in the text. */
import { randomId } from '../state/device';

const LONG = /\d{16}/;
const PIECES = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

export function whole(text: string): number | bigint {
  const n = Number(text);
  return Number.isSafeInteger(n) ? n : BigInt(text);
}

/** What an INT widget holds: digits in quotes are a number too. */
export const unquoted = (v: unknown): unknown => (typeof v === 'string' && /^\d{16,20}$/.test(v) ? whole(v) : v);

export function parseExact(text: string): unknown {
  if (!LONG.test(text)) return JSON.parse(text);
  const mark = `${randomId()}:`;
  const marked = text.replace(PIECES, (x) => (x.length > 15 && /^-?\d+$/.test(x) && !Number.isSafeInteger(Number(x)) ? `"${mark}${x}"` : x));
  if (marked === text) return JSON.parse(text);
  return JSON.parse(marked, (_, v: unknown) => (typeof v === 'string' && v.startsWith(mark) ? BigInt(v.slice(mark.length)) : v));
}

/** As parseExact; what is no number (Python writes NaN and Infinity into its JSON) is null. */
export function parseLoose(text: string): unknown {
  return parseExact(/NaN|Infinity/.test(text) ? text.replace(/"(?:[^"\\]|\\.)*"|-?(?:NaN|Infinity)/g, (x) => (x.startsWith('"') ? x : 'null')) : text);
}

export function stringifyExact(value: unknown, indent?: number): string {
  const mark = randomId();
  let found = false;
  const text = JSON.stringify(value, (_, v: unknown) => {
    if (typeof v !== 'bigint') return v;
    found = true;
    return `${mark}:${v}`;
  }, indent);
  return found ? text.replace(new RegExp(`"${mark}:(-?\\d+)"`, 'g'), '$1') : text;
}

/** Into [min, max]; numbers and bigints may be mixed. */
export function clamp<T extends number | bigint>(v: T, min?: number | bigint, max?: number | bigint): T | number | bigint {
  if (min !== undefined && v < min) return min;
  if (max !== undefined && v > max) return max;
  return v;
}

const INT64 = 2n ** 63n;
type Path = (string | number)[];
type Bag = Record<string | number, unknown>;

/** For a server whose JSON ends at 2^63: longer numbers as text, and `extra.long` says where they are. */
export function packLong(data: unknown): unknown {
  const long: Path[] = [];
  const walk = (v: unknown, path: Path): unknown => {
    if (typeof v === 'bigint' && (v >= INT64 || v < -INT64)) return long.push(path), String(v);
    if (Array.isArray(v)) return v.map((x, i) => walk(x, [...path, i]));
    if (typeof v !== 'object' || v === null) return v;
    return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, walk(x, [...path, k])]));
  };
  const out = walk(data, []) as { extra?: object };
  return long.length ? { ...out, extra: { ...out.extra, long } } : out;
}

/** Back again, in place. */
export function unpackLong(data: unknown): unknown {
  const extra = (data as { extra?: { long?: Path[] } } | null)?.extra;
  if (!Array.isArray(extra?.long)) return data;
  for (const path of extra.long) {
    const key = path.at(-1);
    const at = path.slice(0, -1).reduce<unknown>((x, k) => (x && Object.hasOwn(x, k) ? (x as Bag)[k] : undefined), data) as Bag | undefined;
    if (at && key !== undefined && Object.hasOwn(at, key) && /^-?\d{1,40}$/.test(String(at[key]))) at[key] = BigInt(String(at[key]));
  }
  delete extra.long;
  return data;
}
