import { storeUnavailable } from '../../src/errors.ts';

/** Makes one step of a store fail once it is reached, as a Redis that goes away in that very moment would. */
export function failAtStep<T extends object>(target: T, step: { name: string | undefined }): T {
  return new Proxy(target, {
    get(_target, name) {
      const value = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      if (name !== step.name) return value.bind(target);
      return (...args: unknown[]) => {
        const done = args.at(-1);
        if (typeof done === 'function') return done(new Error('Redis is away'));
        return Promise.reject(storeUnavailable(new Error('Redis is away')));
      };
    },
  });
}
