/**
 * preprocessor_config.json of transformers (image processors, and the feature extractors that they were called before) -> preprocessing.
 */
import { isObject, type JsonObject, show } from '../values.js'
import { preprocessingFromTimm } from './config-timm.js'
import { RESAMPLE_BY_NUMBER, type Resample } from './filters.js'
import { checkPreprocessing, type Preprocessing } from './preprocessing.js'

type Size = { height: number; width: number } | { edge: number }

/** What a class does when its file does not say. */
interface Processor {
  size: Size
  /** A lone number as size: both sides (true) or the shorter one. */
  square: boolean
  crop: { height: number; width: number } | null
  resample: Resample
  mean: number[]
  std: number[]
}

const HALF = [0.5, 0.5, 0.5]
const CLIP = { mean: [0.48145466, 0.4578275, 0.40821073], std: [0.26862954, 0.26130258, 0.27577711] }
const CROP = { height: 224, width: 224 }
const DEIT: Processor = { size: { height: 256, width: 256 }, square: true, crop: CROP, resample: 'bicubic', mean: HALF, std: HALF }
const BIT: Processor = { size: { edge: 224 }, square: false, crop: CROP, resample: 'bicubic', ...CLIP }
const MOBILENET: Processor = { size: { edge: 256 }, square: false, crop: CROP, resample: 'bilinear', mean: HALF, std: HALF }

const PROCESSORS: Record<string, Processor> = {
  ViT: { size: CROP, square: true, crop: null, resample: 'bilinear', mean: HALF, std: HALF },
  DeiT: DEIT,
  Beit: DEIT,
  ConvNext: { size: { edge: 384 }, square: false, crop: null, resample: 'bicubic', mean: HALF, std: HALF },
  Bit: BIT,
  CLIP: BIT,
  MobileNetV1: MOBILENET,
  MobileNetV2: MOBILENET,
}

/** The class for files that do not name one. */
const PROCESSOR_BY_MODEL: Record<string, string> = {
  vit: 'ViT',
  swin: 'ViT',
  deit: 'DeiT',
  beit: 'Beit',
  resnet: 'ConvNext',
  convnext: 'ConvNext',
  bit: 'Bit',
  mobilenet_v1: 'MobileNetV1',
  mobilenet_v2: 'MobileNetV2',
}

/** Below this size ConvNext crops, from it on it warps. */
const CONVNEXT_WARP = 384

const FILE = 'preprocessor_config.json'

/**
 * @param preprocessor contents of preprocessor_config.json, null when the checkpoint has none. Then a timm config.json (`pretrained_cfg`)
 *   speaks for itself, and a ViT gets its class's default: `image_size` x `image_size`, bilinear, mean = std = 0.5. No other model has a
 *   default, because its mean and deviation cannot be guessed.
 * @param model contents of config.json: num_channels (default 3), image_size, model_type
 * @throws Error naming the file and field
 */
export function preprocessingFromConfig(preprocessor: JsonObject | null, model: JsonObject): Preprocessing {
  if (preprocessor === null) {
    if (isObject(model.pretrained_cfg)) return preprocessingFromTimm(model.pretrained_cfg)
    if (model.model_type !== 'vit' || typeof model.image_size !== 'number') {
      throw new Error(
        `the checkpoint has no ${FILE}, so mean, deviation and resizing of a model of type ${show(model.model_type)} are ` +
          'unknown: put the file beside config.json',
      )
    }
    preprocessor = { image_processor_type: 'ViTImageProcessor', size: model.image_size }
  }
  const kind = processorName(preprocessor, model)
  const processor = PROCESSORS[kind]
  const channels = model.num_channels ?? 3
  const { resize, crop } = geometry(kind, processor, preprocessor)
  const final = crop ?? (resize?.mode === 'exact' ? resize : imageSize(model))
  const normalise = preprocessor.do_normalize !== false
  return checkPreprocessing(
    {
      resize,
      resample: resampleOf(preprocessor.resample, processor.resample),
      crop,
      rescale: preprocessor.do_rescale === false ? 1 : (preprocessor.rescale_factor ?? 1 / 255),
      mean: perChannel(normalise ? (preprocessor.image_mean ?? processor.mean) : 0, channels),
      std: perChannel(normalise ? (preprocessor.image_std ?? processor.std) : 1, channels),
      channels,
      height: final.height,
      width: final.width,
    },
    FILE,
  )
}

function processorName(preprocessor: JsonObject, model: JsonObject): string {
  const given = preprocessor.image_processor_type ?? preprocessor.feature_extractor_type
  const name =
    typeof given === 'string'
      ? given.replace(/(ImageProcessor(Fast|Pil)?|FeatureExtractor)$/, '')
      : (PROCESSOR_BY_MODEL[String(model.model_type)] ?? '')
  if (Object.hasOwn(PROCESSORS, name)) return name
  const known = Object.keys(PROCESSORS).map((key) => `${key}ImageProcessor`)
  throw new Error(
    given === undefined
      ? `${FILE} names no image_processor_type, and models of type ${show(model.model_type)} have no default one`
      : `${FILE}: image_processor_type ${show(given)} is not supported; supported are ${known.join(', ')}`,
  )
}

function geometry(kind: string, processor: Processor, config: JsonObject): Pick<Preprocessing, 'resize' | 'crop'> {
  const size = sizeOf('size', config.size, processor.square) ?? processor.size
  if (kind === 'ConvNext') return convNext(size, config)
  const crops = config.do_center_crop ?? processor.crop !== null
  const crop = crops ? (sizeOf('crop_size', config.crop_size, true) ?? processor.crop) : null
  if (crops && (crop === null || 'edge' in crop)) {
    throw new Error(`${FILE}: do_center_crop needs crop_size as a number or { height, width }, not ${show(config.crop_size)}`)
  }
  if (config.do_resize === false) return { resize: null, crop: crop as Preprocessing['crop'] }
  if ('edge' in size && crop === null) {
    throw new Error(`${FILE}: size gives only the shortest edge and nothing is cropped, so images would differ in size`)
  }
  const resize: Preprocessing['resize'] = 'edge' in size ? { mode: 'shortest', edge: size.edge } : { mode: 'exact', ...size }
  return { resize, crop: crop as Preprocessing['crop'] }
}

/** ConvNext has a rule of its own, and ResNet shares it. */
function convNext(size: Size, config: JsonObject): Pick<Preprocessing, 'resize' | 'crop'> {
  if (config.do_resize === false) return { resize: null, crop: null }
  if (!('edge' in size)) throw new Error(`${FILE}: size of this processor must be { shortest_edge }, not ${show(config.size)}`)
  const { edge } = size
  if (edge >= CONVNEXT_WARP) return { resize: { mode: 'exact', height: edge, width: edge }, crop: null }
  const fraction = config.crop_pct ?? 224 / 256
  if (typeof fraction !== 'number' || !(fraction > 0 && fraction <= 1)) {
    throw new Error(`${FILE}: crop_pct must be above 0 and at most 1, not ${show(fraction)}`)
  }
  return { resize: { mode: 'shortest', edge: Math.trunc(edge / fraction) }, crop: { height: edge, width: edge } }
}

/** A number, { height, width } or { shortest_edge }; null when the file leaves it out. */
function sizeOf(field: string, value: unknown, square: boolean): Size | null {
  if (value === undefined || value === null) return null
  if (typeof value === 'number') return square ? { height: value, width: value } : { edge: value }
  if (isObject(value)) {
    const { height, width, shortest_edge: edge } = value
    if (typeof height === 'number' && typeof width === 'number') return { height, width }
    if (typeof edge === 'number' && value.longest_edge === undefined) return { edge }
  }
  throw new Error(`${FILE}: ${field} must be a number, { height, width } or { shortest_edge }, not ${show(value)}`)
}

function imageSize(model: JsonObject): { height: number; width: number } {
  const size = model.image_size
  if (typeof size === 'number') return { height: size, width: size }
  if (Array.isArray(size) && size.length === 2) return { height: size[0], width: size[1] }
  throw new Error(`${FILE} switches resizing off, and config.json has no image_size to say what size images must have`)
}

function resampleOf(value: unknown, fallback: Resample): Resample {
  if (value === undefined || value === null) return fallback
  const resample = RESAMPLE_BY_NUMBER[value as number]
  if (resample !== undefined) return resample
  const known = RESAMPLE_BY_NUMBER.map((name, number) => `${number} (${name})`)
  throw new Error(`${FILE}: resample ${show(value)} is unknown; known are ${known.join(', ')}`)
}

/** A number, or a list of one, stands for all channels; three equal defaults fit one channel too. */
function perChannel(value: unknown, channels: unknown): unknown {
  const list: unknown[] = Array.isArray(value) ? value : [value]
  if (list.length === 1 && (channels === 1 || channels === 3)) return Array(channels).fill(list[0])
  return value === HALF && channels === 1 ? [0.5] : list
}
