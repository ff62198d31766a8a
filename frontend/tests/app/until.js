import { vi } from 'vitest';

/**
 * Waits until the condition holds, also on a machine that is busy with other things.
 * @param {() => unknown} holds
 */
export function until(holds) {
  return vi.waitUntil(holds, { timeout: 10_000, interval: 10 });
}

/** Room for several such waits in one test. */
export const PATIENT = { testTimeout: 30_000 };
