import type { Variable } from '../config/fields.ts';

export type Settings = { readonly [K in Variable | `${Variable}_FILE`]?: string | number | boolean | URL };
