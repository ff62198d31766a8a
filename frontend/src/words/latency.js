/** @typedef {{ at: number, ms: number }} Sample */

/** Milliseconds that the chart spans at least, so that a jitter of one looks small. */
const LEAST_TOP_MS = 20;

/** @param {number} ms */
export function milliseconds(ms) {
  return ms < 1 ? 'under 1 ms' : `${Math.round(ms)} ms`;
}

/**
 * The middle one of the sorted numbers, or halfway between the middle two.
 * @param {number[]} sorted at least one
 */
function medianOf(sorted) {
  const middle = sorted.length / 2;
  return (sorted[Math.ceil(middle) - 1] + sorted[Math.floor(middle)]) / 2;
}

/** @param {Sample[]} samples at least one */
function figures(samples) {
  const sorted = samples.map(({ ms }) => ms).sort((one, other) => one - other);
  return {
    last: /** @type {Sample} */ (samples.at(-1)).ms,
    median: medianOf(sorted),
    worst: /** @type {number} */ (sorted.at(-1)),
  };
}

/**
 * The three numbers under the chart, each with its name.
 * @param {Sample[]} samples
 * @returns {[string, string][]}
 */
export function summary(samples) {
  const { last, median, worst } = samples.length
    ? figures(samples)
    : { last: null, median: null, worst: null };
  const words = (/** @type {number | null} */ ms) => (ms === null ? '–' : milliseconds(ms));
  return [
    ['Latest', words(last)],
    ['Median', words(median)],
    ['Worst', words(worst)],
  ];
}

/**
 * The chart in words.
 * @param {Sample[]} samples
 * @returns {string}
 */
export function latencyWords(samples) {
  if (!samples.length) return 'No round trip measured yet';
  const { last, median, worst } = figures(samples);
  return (
    `The last ${samples.length} round trips: latest ${milliseconds(last)}, ` +
    `median ${milliseconds(median)}, worst ${milliseconds(worst)}`
  );
}

/**
 * The line through the samples and the area under it; the newest is at the right edge.
 * @param {Sample[]} samples
 * @param {{ width: number, height: number, slots: number }} size
 * @returns {{ line: string, area: string }}
 */
export function chartPath(samples, { width, height, slots }) {
  if (samples.length < 2) return { line: '', area: '' };
  const top = Math.max(LEAST_TOP_MS, ...samples.map(({ ms }) => ms)) * 1.1;
  const step = width / (slots - 1);
  const points = samples.map(({ ms }, index) => {
    const x = width - (samples.length - 1 - index) * step;
    return `${x.toFixed(1)} ${(height - (ms / top) * height).toFixed(1)}`;
  });
  const line = `M${points.join('L')}`;
  const left = (width - (samples.length - 1) * step).toFixed(1);
  return { line, area: `${line}L${width} ${height}L${left} ${height}Z` };
}
