/** Has no types of its own; see quiet-request-queue.ts. */
declare module 'kafkajs/src/network/requestQueue' {
  export default class RequestQueue {
    scheduleCheckPendingRequests(): void;
  }
}
