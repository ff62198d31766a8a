// @vitest-environment happy-dom
import { mount } from '@vue/test-utils';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { defineComponent, h, ref } from 'vue';
import { usePolling } from '../../src/components/admin/polling.js';

const PACE = 5_000;

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  hide(false);
  vi.useRealTimers();
});

/** @param {boolean} hidden */
function hide(hidden) {
  Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}

/** A component that polls; each run takes until `finish`, or none. */
function polling({ slow = false } = {}) {
  const paused = ref(false);
  /** @type {() => void} */
  let finish = () => {};
  const run = vi.fn(() =>
    slow ? new Promise((resolve) => (finish = () => resolve(null))) : Promise.resolve(null),
  );
  const wrapper = mount(
    defineComponent({
      setup() {
        usePolling(run, PACE, paused);
        return () => h('p');
      },
    }),
  );
  return { paused, run, wrapper, finish: () => finish() };
}

it('runs at once, and then again each time', async () => {
  const { run, wrapper } = polling();
  expect(run).toHaveBeenCalledTimes(1);
  await vi.advanceTimersByTimeAsync(2 * PACE);
  expect(run).toHaveBeenCalledTimes(3);
  wrapper.unmount();
});

it('waits for the end of a run before it plans the next', async () => {
  const { run, wrapper, finish } = polling({ slow: true });
  await vi.advanceTimersByTimeAsync(3 * PACE);
  expect(run).toHaveBeenCalledTimes(1);
  finish();
  await vi.advanceTimersByTimeAsync(PACE);
  expect(run).toHaveBeenCalledTimes(2);
  wrapper.unmount();
});

it('paused during a run, runs no more until it goes on, and then at once', async () => {
  const { run, wrapper, paused, finish } = polling({ slow: true });
  paused.value = true;
  await vi.advanceTimersByTimeAsync(0);
  finish();
  await vi.advanceTimersByTimeAsync(3 * PACE);
  expect(run).toHaveBeenCalledTimes(1);
  paused.value = false;
  await vi.advanceTimersByTimeAsync(0);
  expect(run).toHaveBeenCalledTimes(2);
  wrapper.unmount();
});

it('rests while the page is hidden, and runs when it is seen again', async () => {
  const { run, wrapper } = polling();
  await vi.advanceTimersByTimeAsync(0);
  hide(true);
  await vi.advanceTimersByTimeAsync(3 * PACE);
  expect(run).toHaveBeenCalledTimes(1);
  hide(false);
  expect(run).toHaveBeenCalledTimes(2);
  wrapper.unmount();
});

it('ends with its component, also when a run is under way', async () => {
  const { run, wrapper, finish } = polling({ slow: true });
  wrapper.unmount();
  finish();
  await vi.advanceTimersByTimeAsync(3 * PACE);
  hide(false);
  expect(run).toHaveBeenCalledTimes(1);
});
