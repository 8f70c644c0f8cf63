/** Text stored in PNG files: workflows are in `workflow` and `prompt`, AUTOMATIC1111's in `parameters`. */
const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];

export function pngTexts(bytes: Uint8Array): Record<string, string> {
  const out: Record<string, string> = {};
  if (SIGNATURE.some((b, i) => bytes[i] !== b)) return out;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const data = bytes.subarray(at + 8, at + 8 + length);
    if (kind === 'tEXt' || kind === 'iTXt') {
      const end = data.indexOf(0);
      if (end > 0) {
        const key = new TextDecoder('latin1').decode(data.subarray(0, end));
        if (kind === 'tEXt') out[key] = new TextDecoder('latin1').decode(data.subarray(end + 1));
        else {
          // compression flag and method, language, translated keyword
          const language = data.indexOf(0, end + 3);
          const start = data.indexOf(0, language + 1) + 1;
          if (data[end + 1] === 0 && start > 0) out[key] = new TextDecoder().decode(data.subarray(start));
        }
      }
    }
    if (kind === 'IDAT' || kind === 'IEND') break;
    at += 12 + length;
  }
  return out;
}

/** A WebP, JPEG or other file: JSON after `workflow:` or `prompt:` in its EXIF text. */
export function exifJson(bytes: Uint8Array): string | null {
  const text = new TextDecoder('latin1').decode(bytes.length > 4_000_000 ? bytes.subarray(0, 4_000_000) : bytes);
  for (const key of ['workflow:{', 'prompt:{']) {
    const at = text.indexOf(key);
    if (at < 0) continue;
    const start = at + key.length - 1;
    const end = text.indexOf('\0', start);
    return text.slice(start, end < 0 ? undefined : end);
  }
  return null;
}
