/** The `pretrained_cfg` of a timm checkpoint -> preprocessing, as timm's evaluation transform does it. */
import { show } from '../values.js'
import { RESAMPLE_BY_NUMBER, type Resample } from './filters.js'
import { checkPreprocessing, type Preprocessing } from './preprocessing.js'

const IMAGENET_MEAN = [0.485, 0.456, 0.406]
const IMAGENET_STD = [0.229, 0.224, 0.225]

/**
 * Resizes the shorter side to floor(size / crop_pct) and takes the middle (crop_mode 'center'), or resizes to that size without regard to
 * the aspect ratio (crop_mode 'squash'). Defaults are timm's: bicubic, crop_pct 0.875, ImageNet's mean and deviation.
 *
 * @param cfg `config.pretrained_cfg`
 * @throws Error naming the field that is missing or means something else
 */
export function preprocessingFromTimm(cfg: Record<string, unknown>): Preprocessing {
  const source = 'config.json, pretrained_cfg'
  const size = cfg.input_size
  if (!Array.isArray(size) || size.length !== 3) {
    throw new Error(`${source}: input_size must be [channels, height, width], not ${show(size)}`)
  }
  const [channels, height, width] = size
  const { crop_pct, crop_mode, interpolation, mean, std } = cfg
  const fraction = crop_pct ?? 0.875
  if (typeof fraction !== 'number' || !(fraction > 0 && fraction <= 2)) {
    throw new Error(`${source}: crop_pct must be a number above 0, mostly up to 1, not ${show(fraction)}`)
  }
  const mode = crop_mode ?? 'center'
  if (mode !== 'center' && mode !== 'squash') {
    throw new Error(`${source}: crop_mode ${show(mode)} is not supported; center and squash are`)
  }
  if (mode === 'center' && height !== width) {
    throw new Error(`${source}: input_size ${height} x ${width} is not square, which crop_mode 'center' does not support`)
  }
  const resample = interpolation ?? 'bicubic'
  if (!RESAMPLE_BY_NUMBER.includes(resample as Resample)) {
    throw new Error(`${source}: interpolation ${show(resample)} is unknown; known are ${RESAMPLE_BY_NUMBER.join(', ')}`)
  }
  const scaled = { height: Math.floor(height / fraction), width: Math.floor(width / fraction) }
  const same = scaled.height === height && scaled.width === width
  return checkPreprocessing(
    {
      resize: mode === 'center' ? { mode: 'shortest', edge: scaled.height } : { mode: 'exact', ...scaled },
      resample,
      crop: mode === 'squash' && same ? null : { height, width, rounding: 'even' },
      rescale: 1 / 255,
      mean: perChannel(mean ?? IMAGENET_MEAN, channels),
      std: perChannel(std ?? IMAGENET_STD, channels),
      channels,
      height,
      width,
    },
    source,
  )
}

/** timm lets one value stand for all channels. */
function perChannel(value: unknown, channels: number): unknown {
  const list = Array.isArray(value) ? value : [value]
  return list.length === 1 ? Array(channels).fill(list[0]) : list
}
