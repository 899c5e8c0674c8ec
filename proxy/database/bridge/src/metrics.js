/**
 * The engine's metrics, which the WebAssembly build lacks: counted here, under the native
 * engine's names, and served by http-server.js as JSON or Prometheus text.
 */

/**
 * @typedef {import('./pool.js').Pool} Pool
 * @typedef {Record<string, string>} Labels
 * @typedef {{ name: string, description: string }} Title
 */

const BOUNDS_MS = [0, 1, 5, 10, 50, 100, 500, 1000, 5000, 50_000];

class Histogram {
  sum = 0;
  count = 0;
  counts = BOUNDS_MS.map(() => 0);

  /** @param {number} milliseconds */
  add(milliseconds) {
    this.sum += milliseconds;
    this.count += 1;
    const bucket = BOUNDS_MS.findIndex((bound) => milliseconds <= bound);
    if (bucket >= 0) this.counts[bucket] = (this.counts[bucket] ?? 0) + 1;
  }

  /** @returns {[number, number][]} upper bound and how many are at or below it */
  cumulative() {
    let total = 0;
    return BOUNDS_MS.map((bound, index) => [bound, (total += this.counts[index] ?? 0)]);
  }
}

export class Metrics {
  #clientQueries = 0;
  #active = 0;
  #databaseQueries = 0;
  #durations = new Histogram();
  #waits = new Histogram();
  #databaseDurations = new Histogram();

  /** @param {Pool} pool */
  constructor(pool) {
    this.pool = pool;
  }

  /**
   * @template T
   * @param {() => Promise<T>} run
   * @returns {Promise<T>}
   */
  async clientQuery(run) {
    const since = performance.now();
    this.#clientQueries += 1;
    this.#active += 1;
    try {
      return await run();
    } finally {
      this.#active -= 1;
      this.#durations.add(performance.now() - since);
    }
  }

  /** @param {number} milliseconds spent until a connection was there */
  waited(milliseconds) {
    this.#waits.add(milliseconds);
  }

  /** @param {number} milliseconds Postgres took */
  databaseQuery(milliseconds) {
    this.#databaseQueries += 1;
    this.#databaseDurations.add(milliseconds);
  }

  /** @param {Labels} labels */
  json(labels) {
    const metric = (/** @type {Title & { value: unknown }} */ { name, description, value }) => ({
      key: name,
      labels,
      value,
      description,
    });
    return {
      counters: this.#counters().map(metric),
      gauges: this.#gauges().map(metric),
      histograms: this.#histograms().map(({ name, description, value }) =>
        metric({
          name,
          description,
          value: { buckets: value.cumulative(), sum: value.sum, count: value.count },
        }),
      ),
    };
  }

  /** @param {Labels} labels */
  prometheus(labels) {
    const pairs = Object.entries(labels).map(([name, text]) => `${name}=${JSON.stringify(text)}`);
    const lines = [];
    for (const [type, values] of /** @type {const} */ ([['counter', this.#counters()], ['gauge', this.#gauges()]])) {
      for (const { name, description, value } of values) {
        lines.push(`# HELP ${name} ${description}`, `# TYPE ${name} ${type}`, `${name}${braces(pairs)} ${value}`, '');
      }
    }
    for (const { name, description, value } of this.#histograms()) {
      lines.push(`# HELP ${name} ${description}`, `# TYPE ${name} histogram`);
      for (const [bound, total] of [...value.cumulative(), ['+Inf', value.count]]) {
        lines.push(`${name}_bucket${braces([...pairs, `le="${bound}"`])} ${total}`);
      }
      lines.push(`${name}_sum${braces(pairs)} ${value.sum}`, `${name}_count${braces(pairs)} ${value.count}`, '');
    }
    return lines.join('\n');
  }

  #counters() {
    const { pool } = this;
    return [
      {
        name: 'prisma_client_queries_total',
        description: 'Total number of Prisma Client queries executed',
        value: this.#clientQueries,
      },
      {
        name: 'prisma_datasource_queries_total',
        description: 'Total number of Datasource Queries executed',
        value: this.#databaseQueries,
      },
      {
        name: 'prisma_pool_connections_opened_total',
        description: 'Total number of Pool Connections opened',
        value: pool.opened,
      },
      {
        name: 'prisma_pool_connections_closed_total',
        description: 'Total number of Pool Connections closed',
        value: pool.closed,
      },
    ];
  }

  #gauges() {
    const { pool } = this;
    const open = pool.opened - pool.closed;
    return [
      {
        name: 'prisma_client_queries_active',
        description: 'Number of currently active Prisma Client queries',
        value: this.#active,
      },
      {
        name: 'prisma_client_queries_wait',
        description: 'Number of Prisma Client queries currently waiting for a connection',
        value: pool.waiting,
      },
      { name: 'prisma_pool_connections_open', description: 'Number of currently open Pool Connections', value: open },
      {
        name: 'prisma_pool_connections_busy',
        description: 'Number of currently busy Pool Connections (executing a datasource query)',
        value: pool.busy,
      },
      {
        name: 'prisma_pool_connections_idle',
        description: 'Number of currently unused Pool Connections (waiting for the next datasource query to run)',
        value: open - pool.busy,
      },
    ];
  }

  #histograms() {
    return [
      {
        name: 'prisma_client_queries_duration_histogram_ms',
        description: 'Histogram of the duration of all executed Prisma Client queries in ms',
        value: this.#durations,
      },
      {
        name: 'prisma_client_queries_wait_histogram_ms',
        description: 'Histogram of the wait time of all Prisma Client Queries in ms',
        value: this.#waits,
      },
      {
        name: 'prisma_datasource_queries_duration_histogram_ms',
        description: 'Histogram of the duration of all executed Datasource Queries in ms',
        value: this.#databaseDurations,
      },
    ];
  }
}

/** @param {string[]} pairs */
function braces(pairs) {
  return pairs.length > 0 ? `{${pairs.join(',')}}` : '';
}
