"""Every prompt that the official suite asks for by name, and one that comes and goes."""
from asking import elicitation
from samples import embedded, image, text

PROMPTS = {}
CHANGING = "test_changing_prompt"


def prompt(description, *arguments):
    def register(function):
        PROMPTS[function.__name__] = (description, arguments, function)
        return function

    return register


def definitions(with_changing):
    return [
        {
            "name": name,
            "description": description,
            "arguments": [{"name": one, "description": f"the {one}", "required": True} for one in arguments],
        }
        for name, (description, arguments, _) in PROMPTS.items()
        if with_changing or name != CHANGING
    ]


def by_user(*contents):
    return {"messages": [{"role": "user", "content": content} for content in contents]}


@prompt("A text")
async def test_simple_prompt(call):
    return by_user(text("This is a simple prompt for testing."))


@prompt("A text of two parts", "arg1", "arg2")
async def test_prompt_with_arguments(call):
    first, second = call.arguments.get("arg1"), call.arguments.get("arg2")
    return by_user(text(f"Prompt with arguments: arg1='{first}', arg2='{second}'"))


@prompt("A resource, and what to do with it", "resourceUri")
async def test_prompt_with_embedded_resource(call):
    words = "Embedded resource content for testing."
    resource = embedded(call.arguments["resourceUri"], "text/plain", words)
    return by_user(resource, text("Please process the embedded resource above."))


@prompt("A picture, and what to do with it")
async def test_prompt_with_image(call):
    return by_user(image(), text("Please analyze the image above."))


@prompt("A text that the user must complete first")
async def test_input_required_result_prompt(call):
    context = {"context": {"type": "string"}}
    question = elicitation("What context should the prompt use?", context, ["context"])
    answer = (await call.ask({"user_context": question}))["user_context"]
    return by_user(text(f"Use this context: {(answer.get('content') or {}).get('context', 'none')}"))


@prompt("Comes and goes")
async def test_changing_prompt(call):
    return by_user(text("here for now"))
