// Exports spans by the SDK's own exporter: export.mjs grpc|http|proto URL SPANS COMPRESSION; prints what became of them as JSON.
import { SpanKind } from '@opentelemetry/api'
import { BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node'

const [kind, url, spans, compression] = process.argv.slice(2)
const { OTLPTraceExporter } = await import(`@opentelemetry/exporter-trace-otlp-${kind}`)

/** Counts spans by what their export was answered. */
class Counting {
  told = { taken: 0, refused: 0 }
  constructor(exporter) { this.exporter = exporter }
  export(batch, done) {
    this.exporter.export(batch, result => {
      this.told[result.code === 0 ? 'taken' : 'refused'] += batch.length
      done(result)
    })
  }
  forceFlush() { return this.exporter.forceFlush() }
  shutdown() { return this.exporter.shutdown() }
}

const counting = new Counting(new OTLPTraceExporter({ url, compression, concurrencyLimit: 100 }))
const batching = new BatchSpanProcessor(counting, { maxQueueSize: Number(spans), scheduledDelayMillis: 60_000 })
const provider = new NodeTracerProvider({ spanProcessors: [batching] })
const tracer = provider.getTracer('infermeter')
for (let i = 0; i < Number(spans); i++) tracer.startSpan('inference', { kind: SpanKind.SERVER, attributes: { 'infermeter.model': 'm' } }).end()
await provider.forceFlush()
await provider.shutdown()
console.log(JSON.stringify(counting.told))
