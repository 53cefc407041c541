"""Every tool that the official suite calls by name, and one that comes and goes.

A tool that asks its client says it once, by `call.ask`, and works in both eras (asking.py).
"""
import asyncio
import json

from asking import elicitation, roots, sampling
from samples import audio, embedded, image, text

NO_ARGUMENTS = {"type": "object", "properties": {}}
PAUSE_S = 0.05
TOOLS = {}
# Not listed while it is away: its coming and going is what `tools/list_changed` is about.
CHANGING = "test_changing_tool"


def tool(description, schema=NO_ARGUMENTS):
    def register(function):
        TOOLS[function.__name__] = (description, schema, function)
        return function

    return register


def definitions(with_changing):
    return [
        {"name": name, "description": description, "inputSchema": schema}
        for name, (description, schema, _) in TOOLS.items()
        if with_changing or name != CHANGING
    ]


def said(words):
    return {"content": [text(words)]}


def strings(*names):
    return {
        "type": "object",
        "properties": {name: {"type": "string", "description": f"the {name}"} for name in names},
        "required": list(names),
    }


# First, because the header checks call the first tool of the list, without arguments.
@tool("Answers with a text")
async def test_simple_text(call):
    return said("This is a simple text response for testing.")


@tool("Answers with a picture")
async def test_image_content(call):
    return {"content": [image()]}


@tool("Answers with a sound")
async def test_audio_content(call):
    return {"content": [audio()]}


@tool("Answers with a resource")
async def test_embedded_resource(call):
    words = "This is an embedded resource content."
    return {"content": [embedded("test://embedded-resource", "text/plain", words)]}


@tool("Answers with a text, a picture and a resource")
async def test_multiple_content_types(call):
    data = json.dumps({"test": "data", "value": 123})
    return {
        "content": [
            text("Multiple content types test:"),
            image(),
            embedded("test://mixed-content-resource", "application/json", data),
        ]
    }


@tool("Always fails, as a tool fails")
async def test_error_handling(call):
    return {**said("This tool intentionally returns an error for testing"), "isError": True}


@tool("Logs three times while it runs")
async def test_tool_with_logging(call):
    await call.log("Tool execution started")
    await asyncio.sleep(PAUSE_S)
    await call.log("Tool processing data")
    await asyncio.sleep(PAUSE_S)
    await call.log("Tool execution completed")
    return said("logged three times")


@tool("Logs once, to those who want to hear it")
async def test_logging_tool(call):
    await call.log("a line of log")
    return said("logged once")


@tool("Reports how far it is")
async def test_tool_with_progress(call):
    for done in (0, 50, 100):
        if done:
            await asyncio.sleep(PAUSE_S)
        await call.progress(done, 100)
    return said("done, in three steps")


@tool("Has the client's model say something", strings("prompt"))
async def test_sampling(call):
    answers = await call.ask({"said": sampling(call.arguments["prompt"])})
    return said(f"LLM response: {answers['said']['content']['text']}")


@tool("Asks the user for a name and an address", strings("message"))
async def test_elicitation(call):
    properties = {
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    }
    question = elicitation(call.arguments["message"], properties, ["username", "email"])
    answer = (await call.ask({"user": question}))["user"]
    return said(f"User response: {json.dumps(answer)}")


def completed(answer):
    return said(f"Elicitation completed: action={answer['action']}, content={json.dumps(answer.get('content'))}")


@tool("Asks with a default for every primitive type")
async def test_elicitation_sep1034_defaults(call):
    properties = {
        "name": {"type": "string", "description": "a name", "default": "John Doe"},
        "age": {"type": "integer", "description": "years", "default": 30},
        "score": {"type": "number", "description": "points", "default": 95.5},
        "status": {
            "type": "string",
            "description": "a state",
            "enum": ["active", "inactive", "pending"],
            "default": "active",
        },
        "verified": {"type": "boolean", "description": "whether verified", "default": True},
    }
    return completed((await call.ask({"form": elicitation("Look at the defaults", properties, [])}))["form"])


@tool("Asks with every kind of enumeration")
async def test_elicitation_sep1330_enums(call):
    options = ["option1", "option2", "option3"]

    def titled(word):
        places = enumerate(("First", "Second", "Third"), 1)
        return [{"const": f"value{number}", "title": f"{place} {word}"} for number, place in places]

    properties = {
        "untitledSingle": {"type": "string", "enum": options},
        "titledSingle": {"type": "string", "oneOf": titled("Option")},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": options}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled("Choice")}},
    }
    return completed((await call.ask({"form": elicitation("Choose", properties, [])}))["form"])


NAME = {"name": {"type": "string"}}
CONFIRM = {"ok": {"type": "boolean"}}


@tool("Asks for a name, then greets")
async def test_input_required_result_elicitation(call):
    answers = await call.ask({"user_name": elicitation("What is your name?", NAME, ["name"])})
    return said(f"Hello, {(answers['user_name'].get('content') or {}).get('name', 'nobody')}!")


@tool("Has the client's model name a capital")
async def test_input_required_result_sampling(call):
    answers = await call.ask({"capital_question": sampling("What is the capital of France?")})
    return said(answers["capital_question"]["content"]["text"])


@tool("Asks which folders the client opens")
async def test_input_required_result_list_roots(call):
    answers = await call.ask({"client_roots": roots()})
    return said(", ".join(root["uri"] for root in answers["client_roots"]["roots"]))


@tool("Asks, and gives the client a state to bring back")
async def test_input_required_result_request_state(call):
    await call.ask({"confirm": elicitation("Please confirm", CONFIRM, ["ok"])}, with_state=True)
    return said("state-ok")


@tool("Asks three things at once")
async def test_input_required_result_multiple_inputs(call):
    questions = {
        "user_name": elicitation("What is your name?", NAME, ["name"]),
        "greeting": sampling("Generate a greeting", 50),
        "client_roots": roots(),
    }
    answers = await call.ask(questions, with_state=True)
    return said(f"all {len(answers)} are answered")


@tool("Asks one thing after the other")
async def test_input_required_result_multi_round(call):
    await call.ask({"step1": elicitation("Step 1: What is your name?", NAME, ["name"])}, with_state=True)
    colour = {"color": {"type": "string"}}
    question = elicitation("Step 2: What is your favorite color?", colour, ["color"])
    await call.ask({"step2": question}, with_state=True)
    return said("both steps are done")


@tool("Gives the client a state that it must not change")
async def test_input_required_result_tampered_state(call):
    await call.ask({"confirm": elicitation("Please confirm", CONFIRM, ["ok"])}, with_state=True)
    return said("the state came back unchanged")


@tool("Asks only what the client says it can answer")
async def test_input_required_result_capabilities(call):
    questions = {}
    if call.declares("sampling"):
        questions["said"] = sampling("Say something")
    if call.declares("elicitation"):
        questions["user_name"] = elicitation("What is your name?", NAME, ["name"])
    if questions:
        await call.ask(questions)
    return said(f"{len(questions)} questions are answered")


# In the session era it asks whatever was declared, as servers do that never look.
@tool("Cannot work without sampling")
async def test_missing_capability(call):
    await call.ask({"said": sampling("Say something")})
    return said("the client can sample")


@tool("Reports progress, then asks")
async def test_streaming_elicitation(call):
    await call.progress(1, 2)
    await call.ask({"user_name": elicitation("What is your name?", NAME, ["name"])})
    return said("answered")


@tool("Closes its stream while it runs; the client fetches the answer by reconnecting")
async def test_reconnection(call):
    if call.ctx.close_sse_stream is not None:
        await call.ctx.close_sse_stream()
        await asyncio.sleep(2 * PAUSE_S)
    return said("Reconnection test completed successfully")


@tool("Adds a tool to the list, or takes it away again")
async def test_trigger_tool_change(call):
    await call.world.change_tools()
    return said("the tools changed")


@tool("Adds a prompt to the list, or takes it away again")
async def test_trigger_prompt_change(call):
    await call.world.change_prompts()
    return said("the prompts changed")


@tool("Comes and goes")
async def test_changing_tool(call):
    return said("here for now")


@tool(
    "Has an argument that travels in a header as well",
    {
        "type": "object",
        "properties": {
            "region": {"type": "string", "description": "where to", "x-mcp-header": "Region"},
            "note": {"type": "string", "description": "travels in the body alone"},
        },
        "required": ["region"],
    },
)
async def test_header_argument(call):
    return said(f"routed to {call.arguments.get('region', 'nowhere')}")


@tool(
    "Tool with JSON Schema 2020-12 features",
    {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
            }
        },
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": False,
    },
)
async def json_schema_2020_12_tool(call):
    return said("the schema is what matters here")
