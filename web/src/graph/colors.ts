/** Links and sockets are coloured by what they carry; the colours are in studio.css. */
const KNOWN = ['MODEL', 'CLIP', 'VAE', 'CONDITIONING', 'LATENT', 'IMAGE', 'MASK', 'INT', 'FLOAT', 'STRING', 'BOOLEAN', 'COMBO', 'SIGMAS', 'SAMPLER', 'NOISE', 'GUIDER', 'CONTROL_NET', 'UPSCALE_MODEL'];

export function typeClass(type: string): string {
  if (KNOWN.includes(type)) return `t-${type}`;
  if (type === '*') return 't-any';
  let h = 0;
  for (const c of type) h = (h * 31 + c.charCodeAt(0)) % 6;
  return `t-h${h}`;
}
