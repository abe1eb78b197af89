from fastapi import FastAPI
from usageflow.fastapi import FastAPIUsageFlowAPI
app = FastAPI()
usage_flow = FastAPIUsageFlowAPI()
# Initialize UsageFlow
usage_flow.init('YOUR_API_KEY')
# Create middleware
middleware = usage_flow.request_interceptor(
routes=[{'method': '*', 'url': '*'}],
whitelist_routes=[{'method': 'GET', 'url': '/api/health'}]
)
# Add middleware to app
app.add_middleware(middleware)
# --- the printed quick start ends here ---

# ruff: noqa: E402, I001, I002, Q000 - the printed block above comes first and stays as it is printed
import os

import uvicorn
from fastapi import Request


@app.get("/api/users")
async def list_users() -> list[dict[str, object]]:
    return [{"id": 1, "name": "John Doe"}]


@app.get("/api/users/{user_id}")
async def get_user(user_id: int) -> dict[str, object]:
    return {"id": user_id, "name": "John Doe"}


@app.post("/api/transactions", status_code=201)
async def create_transaction(request: Request) -> dict[str, object]:
    request.state.usageflow = {"metadata": {"channel": "web"}}
    return {"accepted": True}


@app.get("/api/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
