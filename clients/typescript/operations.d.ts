// Written by `make docs` from schemas/openapi/work.yaml: edit that.
import type { operations } from "./openapi.js";

type Content<T> = T extends { content: { "application/json": infer C } } ? C : null;
type Body<Id extends keyof operations> = Content<NonNullable<operations[Id]["requestBody"]>>;
type Query<Id extends keyof operations> = NonNullable<operations[Id]["parameters"]["query"]>;
type Good<R> = R[keyof R & (200 | 201 | 202 | 204)];
type Answer<Id extends keyof operations> = Promise<Content<Good<operations[Id]["responses"]>>>;

export interface Operations<Options> {
  projects: {
    /** Create a project. */
    create(body: Body<"create_project">, options?: Options): Answer<"create_project">;
    /** List projects. */
    list(query?: Query<"list_projects">, options?: Options): Answer<"list_projects">;
    /** Get a project. */
    get(project: string, options?: Options): Answer<"get_project">;
    /** Change a project. */
    update(project: string, body: Body<"update_project">, options?: Options): Answer<"update_project">;
  };
  tasks: {
    /** Create a task. */
    create(body: Body<"create_task">, options?: Options): Answer<"create_task">;
    /** List tasks. */
    list(query?: Query<"list_tasks">, options?: Options): Answer<"list_tasks">;
    /** Get a task. */
    get(task: string, options?: Options): Answer<"get_task">;
    /** Change a task. */
    update(task: string, body: Body<"update_task">, options?: Options): Answer<"update_task">;
    /** Delete a task. */
    delete(task: string, options?: Options): Answer<"delete_task">;
  };
  webhooks: {
    /** Create a webhook. */
    create(body: Body<"create_webhook">, options?: Options): Answer<"create_webhook">;
    /** List webhooks. */
    list(query?: Query<"list_webhooks">, options?: Options): Answer<"list_webhooks">;
    /** Get a webhook. */
    get(webhook: string, options?: Options): Answer<"get_webhook">;
    /** Change a webhook. */
    update(webhook: string, body: Body<"update_webhook">, options?: Options): Answer<"update_webhook">;
    /** Delete a webhook. */
    delete(webhook: string, options?: Options): Answer<"delete_webhook">;
    /** Reactivate a webhook. */
    reactivate(webhook: string, options?: Options): Answer<"reactivate_webhook">;
    /** Rotate a webhook's secret. */
    rotateSecret(webhook: string, body?: Body<"rotate_webhook_secret">, options?: Options): Answer<"rotate_webhook_secret">;
    /** Try a webhook. */
    test(webhook: string, options?: Options): Answer<"test_webhook">;
    /** List deliveries. */
    listDeliveries(webhook: string, query?: Query<"list_webhook_deliveries">, options?: Options): Answer<"list_webhook_deliveries">;
    /** Replay a delivery. */
    replayDelivery(webhook: string, delivery: string, options?: Options): Answer<"replay_webhook_delivery">;
  };
  ai: {
    /** Propose tasks. */
    plan(body: Body<"ai_plan">, options?: Options): Answer<"ai_plan">;
    /** Summarize a project. */
    summarize(body: Body<"ai_summarize">, options?: Options): Answer<"ai_summarize">;
  };
  activity: {
    /** List activity. */
    list(query?: Query<"list_activity">, options?: Options): Answer<"list_activity">;
  };
  tokens: {
    /** Mint a token. */
    create(body: Body<"create_token">, options?: Options): Answer<"create_token">;
    /** List tokens. */
    list(query?: Query<"list_tokens">, options?: Options): Answer<"list_tokens">;
    /** Get a token. */
    get(token: string, options?: Options): Answer<"get_token">;
    /** Revoke a token. */
    revoke(token: string, options?: Options): Answer<"revoke_token">;
    /** Rotate a token. */
    rotate(token: string, body?: Body<"rotate_token">, options?: Options): Answer<"rotate_token">;
  };
}
