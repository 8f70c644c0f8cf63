/** The simple form is a workflow underneath: this makes it. */
import type { ApiGraph } from './api-format';
import type { Value } from './catalog';

export interface SimpleForm {
  prompt: string;
  negative: string;
  checkpoint: string;
  loras: { name: string; strength: number }[];
  width: number;
  height: number;
  batch: number;
  steps: number;
  cfg: number;
  seed: number | bigint; // -1 takes a new one each time
  sampler: string;
  scheduler: string;
  image: string; // name of an uploaded picture, or ''
  denoise: number;
}

export const SIMPLE: SimpleForm = {
  prompt: '', negative: '', checkpoint: '', loras: [], width: 512, height: 512, batch: 1, steps: 20, cfg: 7, seed: -1,
  sampler: 'euler', scheduler: 'normal', image: '', denoise: 0.6,
};

export function simpleGraph(f: SimpleForm, seed: number | bigint): ApiGraph {
  const g: ApiGraph = { '4': { class_type: 'CheckpointLoaderSimple', inputs: { ckpt_name: f.checkpoint } } };
  let model: Value = ['4', 0];
  let clip: Value = ['4', 1];
  f.loras.forEach((l, i) => {
    const id = String(20 + i);
    g[id] = { class_type: 'LoraLoader', inputs: { model, clip, lora_name: l.name, strength_model: l.strength, strength_clip: l.strength } };
    model = [id, 0];
    clip = [id, 1];
  });
  g['6'] = { class_type: 'CLIPTextEncode', inputs: { text: f.prompt, clip }, _meta: { title: 'Prompt' } };
  g['7'] = { class_type: 'CLIPTextEncode', inputs: { text: f.negative, clip }, _meta: { title: 'Negative prompt' } };
  let latent: Value = ['5', 0];
  if (f.image) {
    g['10'] = { class_type: 'LoadImage', inputs: { image: f.image } };
    g['11'] = { class_type: 'ImageScale', inputs: { image: ['10', 0], upscale_method: 'lanczos', width: f.width, height: f.height, crop: 'center' } };
    g['5'] = { class_type: 'VAEEncode', inputs: { pixels: ['11', 0], vae: ['4', 2] } };
    if (f.batch > 1) {
      g['12'] = { class_type: 'RepeatLatentBatch', inputs: { samples: ['5', 0], amount: f.batch } };
      latent = ['12', 0];
    }
  } else g['5'] = { class_type: 'EmptyLatentImage', inputs: { width: f.width, height: f.height, batch_size: f.batch } };
  g['3'] = {
    class_type: 'KSampler',
    inputs: {
      model, seed, steps: f.steps, cfg: f.cfg, sampler_name: f.sampler, scheduler: f.scheduler,
      positive: ['6', 0], negative: ['7', 0], latent_image: latent, denoise: f.image ? f.denoise : 1,
    },
  };
  g['8'] = { class_type: 'VAEDecode', inputs: { samples: ['3', 0], vae: ['4', 2] } };
  g['9'] = { class_type: 'SaveImage', inputs: { filename_prefix: 'hob', images: ['8', 0] } };
  return g;
}
