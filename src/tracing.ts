import {
  type Attributes,
  context,
  isSpanContextValid,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';

export type { Attributes };

const kinds = { server: SpanKind.SERVER, client: SpanKind.CLIENT, internal: SpanKind.INTERNAL } as const;
export type SpanName = keyof typeof kinds;

const tracer = trace.getTracer('latchkey');
let isEnabled: boolean | undefined;

/** True if an OpenTelemetry SDK was loaded before Latchkey (`node --import`). Without one, nothing here costs anything. */
export function isTracingEnabled(): boolean {
  isEnabled ??= isSpanContextValid(tracer.startSpan('latchkey starts', {}, ROOT_CONTEXT).spanContext());
  return isEnabled;
}

/**
 * What `work` returns; with an SDK, in a span that is active during it. A failed span has the code of the error, and never
 * its message, which may quote a response.
 */
export function withSpan<T>(
  name: string,
  kind: SpanName,
  attributes: Attributes,
  work: (span?: Span) => Promise<T>,
): Promise<T> {
  if (!isTracingEnabled()) return work();
  return tracer.startActiveSpan(name, { kind: kinds[kind], attributes }, async (span) => {
    try {
      return await work(span);
    } catch (error) {
      span.setStatus({ code: SpanStatusCode.ERROR });
      span.setAttribute('error.type', errorTypeOf(error));
      throw error;
    } finally {
      span.end();
    }
  });
}

/**
 * Records the status of an HTTP response. A span of this kind has failed from a status of 400 (`client`) or 500 (`server`),
 * as the semantic conventions of OpenTelemetry say.
 */
export function recordStatus(span: Span, kind: 'client' | 'server', statusCode: number): void {
  span.setAttribute('http.response.status_code', statusCode);
  if (statusCode < (kind === 'client' ? 400 : 500)) return;
  span.setStatus({ code: SpanStatusCode.ERROR });
  span.setAttribute('error.type', String(statusCode));
}

/**
 * The span of a request, which the caller ends.
 * @param trusted what the propagator of the SDK may read, in the form of headers
 */
export function startRequestSpan(trusted: Readonly<Record<string, unknown>>) {
  const parent = trace.getSpan(context.active()) // of an instrumentation of node:http
    ? context.active()
    : propagation.extract(ROOT_CONTEXT, trusted);
  const span = tracer.startSpan('request', { kind: SpanKind.SERVER }, parent);
  return {
    span,
    traceId: span.spanContext().traceId,
    run: (work: () => void) => context.with(trace.setSpan(parent, span), work),
  };
}

/**
 * Adds the active span to the headers of a request, in the format of the SDK (usually W3C Trace Context). Not the baggage,
 * which an instrumentation of node:http accepts from every client.
 */
export function addTraceHeaders(headers: Record<string, string | string[]>): void {
  const { baggage: _, ...injected } = injectInto({});
  Object.assign(headers, injected);
}

function injectInto(carrier: Record<string, string>): Record<string, string> {
  propagation.inject(context.active(), carrier);
  return carrier;
}

function errorTypeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return '_OTHER';
  if ('kind' in error && typeof error.kind === 'string') return error.kind;
  if ('code' in error && typeof error.code === 'string') return error.code;
  return '_OTHER';
}
