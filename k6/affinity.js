// Stickiness under load: every virtual user keeps a cookie jar and must be answered by one zone,
// except where a handoff moved it. A break is a change of zone that no handoff explains; run it with
// no moves going on and the threshold is zero.
//
//   k6 run -e TARGET=http://127.0.0.1:8080 -e PLACES=paris,tokyo,oregon k6/affinity.js
//
// The proxy must run with `expose_zone: true`, so that answers carry `homing-zone`.
import http from 'k6/http';
import { check, sleep } from 'k6';
import { Counter, Rate } from 'k6/metrics';

const TARGET = __ENV.TARGET || 'http://127.0.0.1:8080';
const PATH = __ENV.HOMING_PATH || '/notebook';
const PLACES = (__ENV.PLACES || '').split(',').filter((place) => place !== '');
const PLACE_HEADER = __ENV.PLACE_HEADER || 'x-client-place';

const breaks = new Counter('homing_stickiness_breaks');
const unnamed = new Counter('homing_answers_without_zone');
const sticky = new Rate('homing_sticky');

export const options = {
  scenarios: {
    sessions: {
      executor: 'ramping-vus',
      startVUs: 0,
      stages: [
        { duration: '10s', target: Number(__ENV.USERS || 50) },
        { duration: __ENV.DURATION || '30s', target: Number(__ENV.USERS || 50) },
        { duration: '5s', target: 0 },
      ],
    },
  },
  thresholds: {
    http_req_failed: ['rate==0'],
    checks: ['rate==1'],
    homing_stickiness_breaks: ['count==0'],
    // Guards the guard: without the header above nothing would be compared.
    homing_answers_without_zone: ['count==0'],
    homing_sticky: ['rate==1'],
  },
};

// One zone per virtual user; each virtual user has a module scope and a cookie jar of its own.
/** @type {string | undefined} */
let home;

export default function () {
  /** @type {Record<string, string>} */
  const headers = {};
  if (PLACES.length > 0) {
    headers[PLACE_HEADER] = PLACES[__VU % PLACES.length];
  }
  // k6 empties a user's jar after each iteration unless told otherwise; the loop keeps the session.
  for (let turn = 0; turn < 20; turn += 1) {
    const response = http.get(`${TARGET}${PATH}`, { headers });
    check(response, { 'is 200': (r) => r.status === 200 });
    const zone = response.headers['Homing-Zone'];
    if (zone === undefined) {
      unnamed.add(1);
    } else if (turn === 0) {
      home = zone;
    } else {
      sticky.add(zone === home);
      if (zone !== home) {
        breaks.add(1);
        home = zone;
      }
    }
    sleep(0.05 + Math.random() * 0.1);
  }
}
