"""What an agent does with the gate, by Python clients: the same checks for the official SDK's two lines, for FastMCP
and for LangChain's adapters.

Environment: WICKET_URL, WICKET_KEY, WICKET_SCRATCH (the folder that the filesystem server serves; it
holds hello.txt). Run as `python suite.py LINE`, a module beside this one. Prints one line for each check; a failed
check ends it with status 1.
"""
import importlib
import os
import sys
import time
import traceback

import anyio

URL = os.environ["WICKET_URL"]
KEY = os.environ["WICKET_KEY"]
SCRATCH = os.environ["WICKET_SCRATCH"]

CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


async def names_of(client):
    names, cursor, pages = [], None, 0
    while True:
        page, cursor = await client.list_page(cursor)
        names += page
        pages += 1
        if cursor is None:
            return names, pages


@check
async def tools_of_all_connectors_are_listed_over_pages(client):
    names, pages = await names_of(client)
    for expected in ("everything__echo", "remote__echo", "files__read_text_file", "wicket__whoami"):
        assert expected in names, f"{expected} is not among {names}"
    assert all("__" in name for name in names), names
    assert len(names) == len(set(names)), "a tool is listed twice"
    assert pages > 1 or client.pages_itself, "the gate was set to small pages, but all came at once"


@check
async def a_call_over_stdio_answers(client):
    result = await client.call("everything__echo", {"message": "grüße ☃"})
    assert "grüße ☃" in result.content[0].text, result


@check
async def a_call_over_http_answers(client):
    result = await client.call("remote__get-sum", {"a": 20, "b": 22})
    assert "42" in result.content[0].text, result


@check
async def structured_content_passes(client):
    result = await client.call("everything__get-structured-content", {"location": "Chicago"})
    structured = getattr(result, "structuredContent", None) or getattr(result, "structured_content", None)
    assert structured and "temperature" in structured, result


@check
async def a_file_is_read(client):
    result = await client.call("files__read_text_file", {"path": f"{SCRATCH}/hello.txt"})
    assert result.content[0].text == "hello from the scratch folder\n", result


@check
async def progress_streams_while_the_call_runs(client):
    for service in ("everything", "remote"):
        seen = []

        async def on_progress(progress, total, message):
            seen.append((time.monotonic(), progress, total))

        began = time.monotonic()
        result = await client.call(
            f"{service}__trigger-long-running-operation", {"duration": 1, "steps": 4}, progress=on_progress
        )
        assert result.content, result
        assert len(seen) >= 3, f"{service}: {len(seen)} progress notifications"
        assert [step for _, step, _ in seen] == sorted(step for _, step, _ in seen), seen
        spread = seen[-1][0] - seen[0][0]
        assert spread > 0.3, f"{service}: progress came in one heap after {time.monotonic() - began:.1f} s"


@check
async def a_write_is_denied_and_does_not_happen(client):
    path = f"{SCRATCH}/forbidden-{client.line}.txt"
    code, message, data = await client.refused("files__write_file", {"path": path, "content": "x"})
    assert code == -32600, (code, message)
    assert message == "Authorization denied: tool 'write_file' is not permitted for agent 'tester'", message
    assert data and data.get("requestId"), f"no requestId in {data}"
    assert not os.path.exists(path), "the denied call was carried out"


@check
async def a_listed_tool_is_denied_for_its_arguments(client):
    code, message, _ = await client.refused("remote__echo", {"message": "forbidden"})
    assert code == -32600, (code, message)
    assert message == "Authorization denied: tool 'echo' is not permitted for agent 'tester'", message


@check
async def an_unknown_tool_is_told(client):
    code, message, _ = await client.refused("everything__no_such_tool", {})
    assert code == -32602, (code, message)


@check
async def a_tools_own_error_is_a_result(client):
    result = await client.call("files__read_text_file", {"path": "/etc/passwd"})
    assert getattr(result, "isError", None) or getattr(result, "is_error", None), result


@check
async def who_am_i(client):
    result = await client.call("wicket__whoami", {})
    assert "tester" in result.content[0].text and "alice" in result.content[0].text, result


@check
async def the_server_over_stdio_has_nothing_of_the_gates_environment(client):
    result = await client.call("everything__get-env", {})
    text = result.content[0].text
    assert "canary-in-the-environment" not in text, "a variable of the gate reached the child"


@check
async def a_call_is_cancelled(client):
    began = time.monotonic()
    await client.cancelled_call("remote__trigger-long-running-operation", {"duration": 30, "steps": 60})
    assert time.monotonic() - began < 10, "cancelling took as long as the call"
    result = await client.call("remote__echo", {"message": "still here"})
    assert "still here" in result.content[0].text, result


@check
async def calls_run_side_by_side(client):
    answers = {}

    async def one(number):
        result = await client.call("remote__get-sum", {"a": number, "b": 1000})
        answers[number] = result.content[0].text

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(one, number)
    for number, text in answers.items():
        assert str(number + 1000) in text, f"{number} was answered {text}"
    assert len(answers) == 20


@check
async def a_wrong_key_is_refused(client):
    try:
        async with importlib.import_module(client.line).connect(URL, "A" * 32):
            pass
    except BaseException:  # both lines wrap the 401 in groups of their own
        return
    raise AssertionError("a wrong key was let in")


async def main():
    line = importlib.import_module(sys.argv[1])
    failed = 0
    async with line.connect(URL, KEY) as client:
        print(f"connected: {client.about}", flush=True)
        for function in CHECKS:
            began = time.monotonic()
            try:
                with anyio.fail_after(60):
                    await function(client)
            except Exception:
                failed += 1
                print(f"FAILED {function.__name__}", flush=True)
                traceback.print_exc()
            else:
                print(f"ok {function.__name__} ({time.monotonic() - began:.2f} s)", flush=True)
    print(f"{sys.argv[1]}: {len(CHECKS) - failed} of {len(CHECKS)} checks passed", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    anyio.run(main)
