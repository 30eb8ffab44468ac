import type { EChartsOption } from 'echarts'

/**
 * Plots as SVG text, by Apache ECharts (optional: only reports need it), which renders without a browser.
 */

/** An option of ECharts, see https://echarts.apache.org/en/option.html. */
export type Chart = EChartsOption

/** Pixels. */
export interface Size {
  width: number
  height: number
}

type Render = (chart: Chart, size: Size) => string

let loading: Promise<Render> | undefined

/**
 * Loads the library; called before long work it tells at once that it is not there.
 *
 * @returns what renders an option as an <svg> element without scripts or links
 * @throws Error that names the package and how to install it
 */
export async function loadCharts(): Promise<Render> {
  loading ??= load()
  try {
    return await loading
  } catch (cause) {
    loading = undefined
    const [reason] = String((cause as Error)?.message ?? cause).split('\n')
    throw new Error(`a report's plots need the package echarts, which did not load (${reason}). Run 'npm install echarts@6'`, { cause })
  }
}

async function load(): Promise<Render> {
  const { init } = await import('echarts')
  return (chart, { width, height }) => {
    const instance = init(null, null, { renderer: 'svg', ssr: true, width, height })
    try {
      instance.setOption({ animation: false, textStyle: { fontFamily: 'sans-serif' }, ...chart })
      return instance.renderToSVGString()
    } finally {
      instance.dispose()
    }
  }
}
