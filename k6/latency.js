// Latency at a fixed arrival rate: requests start when they are due, whether or not earlier ones
// have been answered, so a slow proxy cannot hide behind a slow client.
//
//   k6 run -e TARGET=http://127.0.0.1:8080 -e RATE=500 -e DURATION=60s k6/latency.js
import http from 'k6/http';
import { check } from 'k6';

const TARGET = __ENV.TARGET || 'http://127.0.0.1:8080';
const PATH = __ENV.HOMING_PATH || '/notebook';
const RATE = Number(__ENV.RATE || 200);
const DURATION = __ENV.DURATION || '30s';

export const options = {
  // The jar survives an iteration, so a virtual user is one session for the whole run.
  noCookiesReset: true,
  summaryTrendStats: ['min', 'med', 'p(90)', 'p(99)', 'p(99.9)', 'max', 'count'],
  scenarios: {
    warm: {
      executor: 'constant-arrival-rate',
      rate: RATE,
      timeUnit: '1s',
      duration: '10s',
      preAllocatedVUs: Math.max(50, RATE),
      maxVUs: RATE * 4,
      gracefulStop: '2s',
      tags: { phase: 'warm' },
    },
    measure: {
      executor: 'constant-arrival-rate',
      startTime: '12s',
      rate: RATE,
      timeUnit: '1s',
      duration: DURATION,
      preAllocatedVUs: Math.max(50, RATE),
      maxVUs: RATE * 4,
      tags: { phase: 'measure' },
    },
  },
  thresholds: {
    'http_req_failed{phase:measure}': ['rate==0'],
    'http_req_duration{phase:measure}': [
      `p(99)<${Number(__ENV.P99_MS || 50)}`,
      `p(99.9)<${Number(__ENV.P999_MS || 250)}`,
    ],
    // Arrivals that found no free virtual user were never sent: the rate was not held.
    dropped_iterations: ['count==0'],
  },
};

export default function () {
  const response = http.get(`${TARGET}${PATH}`);
  check(response, { 'is 200': (r) => r.status === 200 });
}
