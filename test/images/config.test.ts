import { preprocessingFromConfig, preprocessingFromTimm } from '../../lib/images/preprocess.js'

const VIT = { model_type: 'vit', image_size: 224 }

describe('preprocessor_config.json', () => {
  test('google/vit-base-patch16-224 as published', () => {
    const file = {
      do_normalize: true,
      do_resize: true,
      feature_extractor_type: 'ViTFeatureExtractor',
      image_mean: [0.5, 0.5, 0.5],
      image_std: [0.5, 0.5, 0.5],
      resample: 2,
      size: 224,
    }
    expect(preprocessingFromConfig(file, VIT)).toEqual({
      resize: { mode: 'exact', height: 224, width: 224 },
      resample: 'bilinear',
      crop: null,
      rescale: 1 / 255,
      mean: [0.5, 0.5, 0.5],
      std: [0.5, 0.5, 0.5],
      channels: 3,
      height: 224,
      width: 224,
    })
  })

  test('facebook/deit-tiny-patch16-224 as published', () => {
    const file = {
      crop_size: 224,
      do_center_crop: true,
      do_normalize: true,
      do_resize: true,
      feature_extractor_type: 'DeiTFeatureExtractor',
      image_mean: [0.485, 0.456, 0.406],
      image_std: [0.229, 0.224, 0.225],
      resample: 3,
      size: 256,
    }
    const p = preprocessingFromConfig(file, { model_type: 'deit' })
    expect(p.resize).toEqual({ mode: 'exact', height: 256, width: 256 })
    expect([p.crop, p.resample, p.height, p.width]).toEqual([{ height: 224, width: 224 }, 'bicubic', 224, 224])
    expect(p.mean).toEqual([0.485, 0.456, 0.406])
  })

  test('microsoft/resnet-18 as published: int(224 / 0.875) = 256, then the middle', () => {
    const file = { crop_pct: 0.875, feature_extractor_type: 'ConvNextFeatureExtractor', resample: 3, size: 224 }
    const p = preprocessingFromConfig(file, { model_type: 'resnet' })
    expect([p.resize, p.crop]).toEqual([
      { mode: 'shortest', edge: 256 },
      { height: 224, width: 224 },
    ])
  })

  test('ConvNext warps from 384 on', () => {
    const file = { image_processor_type: 'ConvNextImageProcessor', size: { shortest_edge: 384 }, crop_pct: 0.875 }
    const p = preprocessingFromConfig(file, {})
    expect([p.resize, p.crop]).toEqual([{ mode: 'exact', height: 384, width: 384 }, null])
  })

  test('Bit and CLIP: the shorter side, then the middle', () => {
    for (const type of ['BitImageProcessor', 'CLIPImageProcessor', 'CLIPImageProcessorFast']) {
      const p = preprocessingFromConfig(
        { image_processor_type: type, size: { shortest_edge: 224 }, crop_size: { height: 200, width: 180 } },
        {},
      )
      expect([p.resize, p.crop, p.height, p.width]).toEqual([{ mode: 'shortest', edge: 224 }, { height: 200, width: 180 }, 200, 180])
      expect(p.mean[0]).toBe(0.48145466)
    }
  })

  test('what the file leaves out is the class default', () => {
    const of = (type: string) => preprocessingFromConfig({ image_processor_type: type }, {})
    expect(of('ViTImageProcessor')).toMatchObject({ resize: { mode: 'exact', height: 224, width: 224 }, resample: 'bilinear', crop: null })
    expect(of('DeiTImageProcessor')).toMatchObject({ resize: { height: 256 }, resample: 'bicubic', crop: { height: 224 } })
    expect(of('ConvNextImageProcessor')).toMatchObject({ resize: { mode: 'exact', height: 384 }, resample: 'bicubic', height: 384 })
    expect(of('BitImageProcessor')).toMatchObject({ resize: { mode: 'shortest', edge: 224 }, crop: { height: 224 } })
    expect(of('MobileNetV2ImageProcessor')).toMatchObject({ resize: { edge: 256 }, resample: 'bilinear', crop: { height: 224 } })
  })

  test('without a class name, that of the model type', () => {
    expect(preprocessingFromConfig({ size: 384 }, { model_type: 'swin' })).toMatchObject({ height: 384, resample: 'bilinear', crop: null })
    expect(() => preprocessingFromConfig({ size: 384 }, { model_type: 'sam' })).toThrow(/names no image_processor_type.*"sam"/)
  })

  test('switches', () => {
    const p = preprocessingFromConfig({ do_normalize: false, do_rescale: false, image_mean: [9, 9, 9] }, VIT)
    expect([p.rescale, p.mean, p.std]).toEqual([1, [0, 0, 0], [1, 1, 1]])
    const still = preprocessingFromConfig({ do_resize: false }, { model_type: 'vit', image_size: [30, 40] })
    expect([still.resize, still.height, still.width]).toEqual([null, 30, 40])
    const uncropped = preprocessingFromConfig({ do_center_crop: false }, { model_type: 'deit' })
    expect([uncropped.crop, uncropped.height]).toEqual([null, 256])
  })

  test('one channel', () => {
    const file = { image_processor_type: 'ViTImageProcessor', size: { height: 28, width: 28 }, image_mean: [0.5], image_std: [0.5] }
    expect(preprocessingFromConfig(file, { num_channels: 1 })).toMatchObject({ channels: 1, mean: [0.5], std: [0.5], height: 28 })
    expect(preprocessingFromConfig({}, { model_type: 'vit', num_channels: 1 })).toMatchObject({ channels: 1, mean: [0.5] })
    expect(preprocessingFromConfig({ image_mean: 0.4 }, VIT).mean).toEqual([0.4, 0.4, 0.4])
    expect(() => preprocessingFromConfig({ image_mean: [0.1, 0.2, 0.3] }, { model_type: 'vit', num_channels: 1 })).toThrow(/mean must be 1/)
    expect(() => preprocessingFromConfig({}, { model_type: 'vit', num_channels: 4 })).toThrow(/channels must be 1 or 3, not 4/)
  })

  test('no file: a ViT has a default, others do not', () => {
    expect(preprocessingFromConfig(null, { model_type: 'vit', image_size: 96 })).toMatchObject({
      resize: { mode: 'exact', height: 96, width: 96 },
      resample: 'bilinear',
      mean: [0.5, 0.5, 0.5],
      std: [0.5, 0.5, 0.5],
      height: 96,
    })
    expect(() => preprocessingFromConfig(null, { model_type: 'swin', image_size: 224 })).toThrow(
      /no preprocessor_config\.json.*"swin".*put the file/,
    )
    expect(() => preprocessingFromConfig(null, {})).toThrow(/no preprocessor_config\.json/)
  })

  test.each([
    [{ resample: 7 }, /resample 7 is unknown; known are 0 \(nearest\), 1 \(lanczos\), 2 \(bilinear\)/],
    [{ resample: 'bicubic' }, /resample "bicubic" is unknown/],
    [{ size: 'large' }, /size must be a number, \{ height, width \} or \{ shortest_edge \}, not "large"/],
    [{ size: { shortest_edge: 224, longest_edge: 300 } }, /size must be a number/],
    [{ size: { shortest_edge: 224 } }, /images would differ in size/],
    [{ size: 0 }, /height must be an integer from 1/],
    [{ image_processor_type: 'SamImageProcessor' }, /"SamImageProcessor" is not supported; supported are ViTImageProcessor/],
    [{ image_processor_type: 'constructor' }, /is not supported/],
    [{ image_std: [0, 1, 1] }, /std must be 3 positive numbers/],
    [{ rescale_factor: null, image_mean: [1, 2] }, /mean must be 3 finite numbers/],
    [{ do_center_crop: true }, /do_center_crop needs crop_size/],
    [{ image_processor_type: 'ConvNextImageProcessor', size: { height: 2, width: 2 } }, /must be \{ shortest_edge \}/],
    [{ image_processor_type: 'ConvNextImageProcessor', size: 224, crop_pct: 0 }, /crop_pct must be above 0/],
  ])('%j is refused', (file, message) => {
    expect(() => preprocessingFromConfig(file, VIT)).toThrow(message)
  })

  test('no resizing and no size', () => {
    expect(() => preprocessingFromConfig({ do_resize: false }, { model_type: 'vit' })).toThrow(/config\.json has no image_size/)
  })
})

describe('pretrained_cfg of timm', () => {
  const cfg = { input_size: [3, 224, 224], interpolation: 'bicubic', crop_pct: 1, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] }

  test('squash', () => {
    expect(preprocessingFromTimm({ ...cfg, crop_mode: 'squash' })).toMatchObject({ resize: { mode: 'exact', height: 224 }, crop: null })
    expect(preprocessingFromTimm({ ...cfg, crop_mode: 'squash', crop_pct: 0.9 })).toMatchObject({
      resize: { mode: 'exact', height: 248, width: 248 },
      crop: { height: 224, width: 224 },
      height: 224,
    })
  })

  test('floor(224 / 0.965) = 232', () => {
    expect(preprocessingFromTimm({ ...cfg, crop_pct: 0.965 }).resize).toEqual({ mode: 'shortest', edge: 232 })
  })

  test.each([
    [{ input_size: 224 }, /input_size must be \[channels, height, width\], not 224/],
    [{ input_size: [3, 224, 192] }, /not square/],
    [{ interpolation: 'random' }, /interpolation "random" is unknown/],
    [{ crop_mode: 'border' }, /crop_mode "border" is not supported/],
    [{ crop_pct: 0 }, /crop_pct must be a number above 0/],
    [{ mean: [0.5], std: [0.5, 0.5] }, /std must be 3/],
  ])('%j is refused', (change, message) => {
    expect(() => preprocessingFromTimm({ ...cfg, ...change })).toThrow(message)
  })
})
