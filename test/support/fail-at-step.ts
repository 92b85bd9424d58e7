import { storeUnavailable } from '../../src/errors.ts';

/** Wraps a store so that the method named by `step` fails, as if Redis became unreachable at that moment. */
export function failAtStep<T extends object>(target: T, step: { name: string | undefined }): T {
  return new Proxy(target, {
    get(_target, name) {
      const value = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      if (name !== step.name) return value.bind(target);
      return (...args: unknown[]) => {
        const callback = args.at(-1);
        if (typeof callback === 'function') return callback(new Error('Redis is unreachable'));
        return Promise.reject(storeUnavailable(new Error('Redis is unreachable')));
      };
    },
  });
}
