// Written by `make docs` from schemas/openapi/work.yaml: edit that.
export const operations = {
  projects: {
    create: {"method": "POST", "path": "/v1/projects", "ids": [], "content": "body"},
    list: {"method": "GET", "path": "/v1/projects", "ids": [], "content": "query"},
    get: {"method": "GET", "path": "/v1/projects/{project}", "ids": ["project"], "content": null},
    update: {"method": "PATCH", "path": "/v1/projects/{project}", "ids": ["project"], "content": "body"},
  },
  tasks: {
    create: {"method": "POST", "path": "/v1/tasks", "ids": [], "content": "body"},
    list: {"method": "GET", "path": "/v1/tasks", "ids": [], "content": "query"},
    get: {"method": "GET", "path": "/v1/tasks/{task}", "ids": ["task"], "content": null},
    update: {"method": "PATCH", "path": "/v1/tasks/{task}", "ids": ["task"], "content": "body"},
    delete: {"method": "DELETE", "path": "/v1/tasks/{task}", "ids": ["task"], "content": null},
  },
  webhooks: {
    create: {"method": "POST", "path": "/v1/webhooks", "ids": [], "content": "body"},
    list: {"method": "GET", "path": "/v1/webhooks", "ids": [], "content": "query"},
    get: {"method": "GET", "path": "/v1/webhooks/{webhook}", "ids": ["webhook"], "content": null},
    update: {"method": "PATCH", "path": "/v1/webhooks/{webhook}", "ids": ["webhook"], "content": "body"},
    delete: {"method": "DELETE", "path": "/v1/webhooks/{webhook}", "ids": ["webhook"], "content": null},
    reactivate: {"method": "POST", "path": "/v1/webhooks/{webhook}/reactivate", "ids": ["webhook"], "content": null},
    rotateSecret: {"method": "POST", "path": "/v1/webhooks/{webhook}/rotate-secret", "ids": ["webhook"], "content": "body"},
    test: {"method": "POST", "path": "/v1/webhooks/{webhook}/test", "ids": ["webhook"], "content": null},
    listDeliveries: {"method": "GET", "path": "/v1/webhooks/{webhook}/deliveries", "ids": ["webhook"], "content": "query"},
    replayDelivery: {"method": "POST", "path": "/v1/webhooks/{webhook}/deliveries/{delivery}/replay", "ids": ["webhook", "delivery"], "content": null},
  },
  ai: {
    plan: {"method": "POST", "path": "/v1/ai/plan", "ids": [], "content": "body"},
    summarize: {"method": "POST", "path": "/v1/ai/summarize", "ids": [], "content": "body"},
  },
  activity: {
    list: {"method": "GET", "path": "/v1/activity", "ids": [], "content": "query"},
  },
  tokens: {
    create: {"method": "POST", "path": "/v1/tokens", "ids": [], "content": "body"},
    list: {"method": "GET", "path": "/v1/tokens", "ids": [], "content": "query"},
    get: {"method": "GET", "path": "/v1/tokens/{token}", "ids": ["token"], "content": null},
    revoke: {"method": "DELETE", "path": "/v1/tokens/{token}", "ids": ["token"], "content": null},
    rotate: {"method": "POST", "path": "/v1/tokens/{token}/rotate", "ids": ["token"], "content": "body"},
  },
};
