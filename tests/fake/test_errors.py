"""Checks that quern-fake fails in each vendor's own words; run by test_fake.py."""
import json

from client import ANTHROPIC, JSON, Server, is_subset, same, true

ASKED = [{"role": "user", "content": "hi"}]
AZURE_PATH = "/openai/deployments/%s/chat/completions?api-version=2024-10-21"


def body(model):
    return {"model": model, "max_tokens": 5, "messages": ASKED, "stream": False}


def ask(server, vendor, model):
    """(status, headers, JSON or text) from this vendor."""
    if vendor == "azure":
        got = server.ask("POST", AZURE_PATH % model, {"messages": ASKED}, {**JSON, "api-key": "k"})
    elif vendor == "anthropic":
        got = server.ask("POST", "/v1/messages", body(model), ANTHROPIC)
    elif vendor == "ollama":
        got = server.ask("POST", "/api/chat", body(model))
    else:
        got = server.openai("%s/%s" % (vendor, model), ASKED)
    text = got[2].decode()
    return got[0], got[1], json.loads(text) if got[1]["content-type"] == "application/json" else text


# vendor, model, status, members of the error, a part of its message
WORDS = [
    ("openai", "fake-error-context", 400, {"type": "invalid_request_error", "code": "context_length_exceeded",
                                           "param": "messages"}, "maximum context length"),
    ("openai", "fake-error-filter", 400, {"code": "content_policy_violation"}, "safety system"),
    ("openai", "fake-401", 401, {"type": "invalid_request_error", "code": "invalid_api_key"}, "Incorrect API key"),
    ("openai", "fake-402", 402, {"code": "billing_not_active"}, "billing"),
    ("openai", "fake-403", 403, {"code": "unsupported_country_region_territory"}, "not supported"),
    ("openai", "fake-404", 404, {"code": "model_not_found"}, "`openai/fake-404` does not exist"),
    ("openai", "fake-408", 408, {"type": "server_error"}, "timed out"),
    ("openai", "fake-409", 409, {"code": "conflict"}, "changed"),
    ("openai", "fake-413", 413, {"type": "invalid_request_error"}, "too large"),
    ("openai", "fake-422", 422, {"type": "invalid_request_error"}, "could not be followed"),
    ("openai", "fake-429", 429, {"type": "requests", "code": "rate_limit_exceeded"}, "(RPM): Limit 60"),
    ("openai", "fake-error-tokens", 429, {"type": "tokens", "code": "rate_limit_exceeded"}, "(TPM)"),
    ("openai", "fake-error-quota", 429, {"type": "insufficient_quota", "code": "insufficient_quota"}, "quota"),
    ("openai", "fake-500", 500, {"type": "server_error"}, "had an error"),
    ("openai", "fake-503", 503, {"type": "server_error"}, "overloaded"),
    ("openai", "fake-529", 529, {"type": "server_error"}, "overloaded"),
    ("azure", "fake-error-context", 400, {"code": "context_length_exceeded"}, "maximum context length"),
    ("azure", "fake-error-filter", 400, {"code": "content_filter", "type": None, "param": "prompt"}, "content management"),
    ("azure", "fake-401", 401, {"code": "401"}, "Access denied"),
    ("azure", "fake-403", 403, {"code": "403"}, "Firewall"),
    ("azure", "fake-404", 404, {"code": "DeploymentNotFound"}, "deployment"),
    ("azure", "fake-408", 408, {"code": "Timeout"}, "timeout"),
    ("azure", "fake-429", 429, {"code": "429"}, "call rate limit"),
    ("azure", "fake-error-tokens", 429, {"code": "429"}, "token rate limit"),
    ("azure", "fake-error-quota", 403, {"code": "403"}, "quota"),
    ("azure", "fake-500", 500, {"code": "InternalServerError"}, "Backend"),
    ("azure", "fake-503", 503, {"code": "ServiceUnavailable"}, "temporarily"),
    ("anthropic", "fake-400", 400, {"type": "invalid_request_error"}, "Field required"),
    ("anthropic", "fake-error-context", 400, {"type": "invalid_request_error"}, "prompt is too long"),
    ("anthropic", "fake-error-filter", 400, {"type": "invalid_request_error"}, "content filtering"),
    ("anthropic", "fake-401", 401, {"type": "authentication_error"}, "x-api-key"),
    ("anthropic", "fake-402", 402, {"type": "billing_error"}, "billing"),
    ("anthropic", "fake-error-funds", 400, {"type": "invalid_request_error"}, "credit balance is too low"),
    ("anthropic", "fake-403", 403, {"type": "permission_error"}, "permission"),
    ("anthropic", "fake-404", 404, {"type": "not_found_error"}, "model: fake-404"),
    ("anthropic", "fake-413", 413, {"type": "request_too_large"}, "maximum size"),
    ("anthropic", "fake-429", 429, {"type": "rate_limit_error"}, "rate limit"),
    ("anthropic", "fake-error-quota", 400, {"type": "invalid_request_error"}, "usage limits"),
    ("anthropic", "fake-500", 500, {"type": "api_error"}, "Internal server error"),
    ("anthropic", "fake-504", 504, {"type": "timeout_error"}, "too long"),
    ("anthropic", "fake-529", 529, {"type": "overloaded_error"}, "Overloaded"),
    ("deepseek", "fake-error-filter", 400, {"type": "invalid_request_error"}, "Content Exists Risk"),
    ("deepseek", "fake-401", 401, {"type": "authentication_error"}, "Authentication Fails"),
    ("deepseek", "fake-402", 402, {"type": "unknown_error", "code": "invalid_request_error"}, "Insufficient Balance"),
    ("deepseek", "fake-422", 422, {"type": "invalid_request_error"}, "deserialize"),
    ("deepseek", "fake-429", 429, {"code": "rate_limit_error"}, "Rate Limit Reached"),
    ("deepseek", "fake-error-model", 400, {"type": "invalid_request_error"}, "Model Not Exist"),
    ("deepseek", "fake-503", 503, {"type": "service_unavailable_error"}, "too busy"),
    ("qwen", "fake-error-context", 400, {"code": "invalid_parameter_error"}, "Range of input length"),
    ("qwen", "fake-error-filter", 400, {"code": "data_inspection_failed"}, "inappropriate content"),
    ("qwen", "fake-401", 401, {"code": "invalid_api_key"}, "Incorrect API key"),
    ("qwen", "fake-error-funds", 400, {"code": "Arrearage"}, "good standing"),
    ("qwen", "fake-403", 403, {"code": "access_denied"}, "denied"),
    ("qwen", "fake-429", 429, {"code": "limit_requests", "type": "limit_requests"}, "requests list"),
    ("qwen", "fake-error-tokens", 429, {"code": "insufficient_quota"}, "Allocated quota exceeded"),
    ("qwen", "fake-500", 500, {"code": "internal_error"}, "internal error"),
    ("hunyuan", "fake-400", 400, {"code": "1001", "type": "invalid_request_error", "param": None}, "assistant"),
    ("hunyuan", "fake-401", 401, {"code": "invalid_api_key"}, "Incorrect API key"),
    ("hunyuan", "fake-error-rate", 400, {"code": "2003", "type": "runtime_error"}, "限频"),
    ("hunyuan", "fake-429", 429, {"code": "2003", "type": "runtime_error"}, "限频"),
    ("hunyuan", "fake-413", 413, {"type": "invalid_request_error"}, "too large"),
    ("hunyuan", "fake-500", 500, {"code": "3001"}, "内部"),
]

# vendor, model, status, the whole body
WHOLE = [
    ("ollama", "fake-404", 404, {"error": "model 'fake-404' not found"}),
    ("ollama", "fake-error-context", 400, {"error": "the input length exceeds the context length"}),
    ("ollama", "fake-401", 401, {"error": "unauthorized"}),
    ("ollama", "fake-503", 503, {"error": "server busy, please try again.  maximum pending requests exceeded"}),
    ("ollama", "fake-429", 429, {"error": "too many requests, please try again in 1s"}),
    ("ollama", "fake-413", 413, {"error": "The request body is too large."}),
    ("hyperbolic", "fake-401", 401, {"detail": "Could not validate credentials"}),
    ("hyperbolic", "fake-402", 402, {"detail": "Insufficient funds. Please deposit more to continue."}),
    ("hyperbolic", "fake-429", 429, {"detail": "Rate limit exceeded: 60 per 1 minute"}),
    ("hyperbolic", "fake-404", 404, {"object": "error", "message": "The model `hyperbolic/fake-404` does not exist.",
                                     "type": "NotFoundError", "param": None, "code": 404}),
]


def check_every_vendor_fails_in_its_own_words(server):
    for vendor, model, status, members, part in WORDS:
        got, _, reply = ask(server, vendor, model)
        same((vendor, model, got), (vendor, model, status))
        is_subset(reply["error"], members)
        true(part in reply["error"]["message"], "%s %s says %r" % (vendor, model, part))


def check_other_forms_of_errors_are_exact(server):
    for vendor, model, status, whole in WHOLE:
        same((vendor, model) + ask(server, vendor, model)[::2], (vendor, model, status, whole))


def check_what_stands_around_the_error(server):
    same(sorted(ask(server, "anthropic", "fake-500")[2]), ["error", "request_id", "type"])
    reply = ask(server, "qwen", "fake-500")[2]
    same(sorted(reply), ["error", "request_id"])
    same(ask(server, "hunyuan", "fake-500")[2]["error"]["id"][:4], "req_")
    inner = ask(server, "azure", "fake-error-filter")[2]["error"]["innererror"]
    same(inner["code"], "ResponsibleAIPolicyViolation")
    same(inner["content_filter_result"]["violence"], {"filtered": True, "severity": "medium"})


def check_gateways_answer_in_html(server):
    for vendor in ("openai", "anthropic", "qwen"):
        status, headers, text = ask(server, vendor, "fake-502")
        same((status, headers["content-type"]), (502, "text/html"))
        true("502 Bad Gateway" in text)


def check_every_status_and_kind_has_a_body_for_every_vendor(server):
    kinds = ("invalid context filter key funds forbidden model path timeout conflict too-large unprocessable rate tokens oversize "
             "quota server gateway busy gateway-timeout overloaded").split()
    for vendor in ("openai", "azure", "anthropic", "ollama", "deepseek", "qwen", "hunyuan", "hyperbolic"):
        for model in ["fake-error-" + kind for kind in kinds] + ["fake-418", "fake-451", "fake-599"]:
            status, _, reply = ask(server, vendor, model)
            true(400 <= status < 600 and reply, "%s %s" % (vendor, model))
    same(ask(server, "openai", "fake-error-nonsense")[0], 200)


def check_the_vendor_follows_from_path_name_and_setting(server):
    reply = json.loads(server.ask("POST", "/compatible-mode/v1/chat/completions", body("fake-429"))[2])
    same(reply["error"]["code"], "limit_requests")
    reply = json.loads(server.ask("POST", "/chat/completions", body("fake-402"))[2])
    same(reply["error"]["message"], "Insufficient Balance")
    same(server.control(vendor="hunyuan")[0], 200)
    same(json.loads(server.openai("fake-429")[2])["error"]["code"], "2003")
    same(json.loads(server.openai("qwen/fake-429")[2])["error"]["code"], "limit_requests")
    same(ask(server, "anthropic", "fake-429")[2]["error"]["type"], "rate_limit_error")
    same([server.control(vendor=name)[0] for name in ("nobody", "anthropic", "qwen-plus")], [400] * 3)


def check_azure_wants_its_own_address_and_key(server):
    guarded = Server(server.process.args[0], "--api-key", "k")
    try:
        same([ask(guarded, "azure", "gpt")[0], ask(guarded, "openai", "gpt")[0]], [200, 401])
        path = "/openai/deployments/gpt/chat/completions"
        status, _, reply = guarded.ask("POST", path, {"messages": ASKED}, {**JSON, "api-key": "k"})
        same((status, json.loads(reply)), (404, {"error": {"code": "404", "message": "Resource not found"}}))
        status, _, reply = guarded.ask("POST", AZURE_PATH % "gpt", {"messages": ASKED}, {**JSON, "api-key": "x"})
        same((status, json.loads(reply)["error"]["code"]), (401, "401"))
        bearer = {**JSON, "Authorization": "Bearer k"}
        same(guarded.ask("POST", AZURE_PATH % "gpt", {"messages": ASKED}, bearer)[0], 200)
        same(guarded.ask("POST", AZURE_PATH % "a/b", {"messages": ASKED}, bearer)[0], 404)
        same({line["model"] for line in guarded.ledger()[:1]}, {"gpt"})
        line = guarded.ledger("?model=gpt")[0]
        is_subset(line, {"path": "/openai/deployments/*/chat/completions", "status": 200})
        headers = ask(guarded, "azure", "gpt")[1]
        true(headers["apim-request-id"] and headers["x-request-id"])
    finally:
        same(guarded.stop(), 0)


def check_refusals_speak_the_vendors_words_too(server):
    guarded = Server(server.process.args[0], "--api-key", "k")
    try:
        same(ask(guarded, "deepseek", "x")[2]["error"]["type"], "authentication_error")
        same(ask(guarded, "hyperbolic", "x")[2], {"detail": "Could not validate credentials"})
        same(ask(guarded, "ollama", "x")[2], {"error": "unauthorized"})
    finally:
        same(guarded.stop(), 0)
    status, reply = server.ask_json("POST", "/v1/chat/completions", {"model": "qwen-plus", "messages": []})
    same((status, reply["error"]["code"], reply["error"]["message"]),
         (400, "invalid_parameter_error", "'messages' must not be empty"))


def check_rates_of_errors_use_the_vendors_words(server):
    server.control(error_rate={"429": 1}, retry_after=2)
    status, headers, reply = ask(server, "deepseek", "chat")
    same((status, headers["retry-after"], reply["error"]["code"]), (429, "2", "rate_limit_error"))
