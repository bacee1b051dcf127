"""The web page: compare, enrol, identify, live, people. The only door to Gradio.

It stays on this machine: it listens on the loopback address, shares nothing, and answers only to
that address' names. Gradio's analytics and version check are off before it is imported, its fonts
are the system's, and a content security policy keeps the browser from asking any other host.

Uploads and microphone recordings lie in a folder of their own (`groove.service.temporary`); what is
older than ten minutes is deleted every minute, and the folder when the program ends.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from groove.api import Model, VoiceprintStore
from groove.errors import GrooveError, SettingsError
from groove.listening import Heard, Listener
from groove.service import answers
from groove.service.guard import middleware
from groove.service.temporary import upload_folder
from groove.service.words import WORDS, Language, language_of
from groove.voiceprints.recognition import Recognizer

PURGE_EVERY_S, PURGE_AGE_S = 60, 600
STREAM_EVERY_S = 0.5
LIVE_HOP_S = 0.75  # a browser and a server share the cores
LONGEST_LIVE_S = 3600
BRAND = f'<div class="brand">{5 * "<i></i>"}Groove<span>声纹</span></div>'


def serve(
    *,
    model: Model = None,
    db: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 7860,
    in_browser: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Serve the page until it is interrupted.

    Args:
        model: a catalogue name, a path, an open encoder, or None for the default.
        db: the voiceprint store; None takes the user's own.
        host: the address to listen on.
        port: the port; 0 takes a free one.
        in_browser: open it.
        say: is told the address once the page is there.

    Raises:
        GrooveError: the model or the store cannot be used, or the port is taken.
    """
    recognizer = VoiceprintStore(db, model=model).recognizer  # fails before anything is served
    with upload_folder() as folder:
        os.environ |= {
            "GRADIO_ANALYTICS_ENABLED": "False",
            "GRADIO_TEMP_DIR": str(folder),
            "HF_HUB_OFFLINE": "1",
            "DO_NOT_TRACK": "1",
        }
        try:
            build(recognizer)(
                say,
                server_name=host,
                server_port=port or _free_port(host),
                inbrowser=in_browser,
                app_kwargs={"middleware": middleware(host)},
                allowed_paths=[],
            )
        except OSError as error:
            taken = "Cannot find empty port" in str(error)  # followed by Gradio's own settings
            said = "something else answers there already" if taken else error
            raise SettingsError(f"{host}:{port}: {said}; give another --port") from error


def build(recognizer: Recognizer) -> Callable[..., None]:
    """Make the page; what comes back launches it and waits until it ends."""
    import gradio as gr

    words = _translations(gr)
    purge = (PURGE_EVERY_S, PURGE_AGE_S)
    blocks = gr.Blocks(title="Groove 声纹", analytics_enabled=False, delete_cache=purge)
    with blocks as page, gr.Column(elem_classes="page"):
        gr.HTML(BRAND, padding=False)
        gr.Markdown(words("title"), elem_classes="title")
        gr.Markdown(words("lead"), elem_classes="lead")
        with gr.Tabs(elem_classes="rooms"):
            _compare_tab(gr, words, recognizer)
            _enroll_tab(gr, words, recognizer)
            _identify_tab(gr, words, recognizer)
            _live_tab(gr, words, recognizer)
            _people_tab(gr, words, recognizer)
        gr.Markdown(words("not_alone"), elem_classes="foot")

    def launch(say: Callable[[str], None], **options: Any) -> None:
        page.launch(
            share=False,
            i18n=words,
            css=files("groove.service").joinpath("page.css").read_text(encoding="utf-8"),
            theme=_theme(gr),
            footer_links=[],
            run_history=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            max_file_size="200mb",
            strict_cors=True,
            quiet=True,
            prevent_thread_lock=True,
            **options,
        )
        say(f"{page.local_url}  (Ctrl-C ends it)")
        page.block_thread()

    return launch


def _compare_tab(gr: Any, words: Any, recognizer: Recognizer) -> None:
    with gr.Tab(words("tab_compare"), id="compare"):
        gr.Markdown(words("compare_hint"), elem_classes="hint")
        with gr.Row():
            first = _recording(gr, words("first"), "first")
            second = _recording(gr, words("second"), "second")
        button = gr.Button(words("compare"), variant="primary", elem_id="compare-button")
        answer = gr.HTML(elem_id="comparison", elem_classes="answer", padding=False)

    def compare(a: str | None, b: str | None, request: gr.Request) -> str:
        return answers.compare(recognizer.verifier, a, b, _language(request))

    button.click(_typed(compare, gr), [first, second], answer, api_visibility="private")


def _enroll_tab(gr: Any, words: Any, recognizer: Recognizer) -> None:
    with gr.Tab(words("tab_enroll"), id="enroll"):
        gr.Markdown(words("enroll_hint"), elem_classes="hint")
        with gr.Row():
            name = gr.Textbox(label=words("name"), max_lines=1, elem_id="enroll-name")
            consent = gr.Textbox(
                label=words("consent"), info=words("consent_hint"), elem_id="enroll-consent"
            )
        recording = _recording(gr, words("recording"), "enroll-recording")
        button = gr.Button(words("enroll"), variant="primary", elem_id="enroll-button")
        answer = gr.HTML(elem_id="enrollment", elem_classes="answer", padding=False)

    def enroll(name: str, consent: str, recording: str | None, request: gr.Request) -> str:
        return answers.enroll(recognizer, name, consent, recording, _language(request))

    button.click(_typed(enroll, gr), [name, consent, recording], answer, api_visibility="private")


def _identify_tab(gr: Any, words: Any, recognizer: Recognizer) -> None:
    with gr.Tab(words("tab_identify"), id="identify"):
        gr.Markdown(words("identify_hint"), elem_classes="hint")
        recording = _recording(gr, words("recording"), "identify-recording")
        button = gr.Button(words("identify"), variant="primary", elem_id="identify-button")
        answer = gr.HTML(elem_id="identification", elem_classes="answer", padding=False)

    def identify(recording: str | None, request: gr.Request) -> str:
        return answers.identify(recognizer, recording, _language(request))

    button.click(_typed(identify, gr), recording, answer, api_visibility="private")


def _live_tab(gr: Any, words: Any, recognizer: Recognizer) -> None:
    with gr.Tab(words("tab_live"), id="live"):
        gr.Markdown(words("live_hint"), elem_classes="hint")
        microphone = gr.Audio(
            label=words("microphone"),
            sources=["microphone"],
            type="numpy",
            streaming=True,
            elem_id="live-microphone",
            elem_classes="recording",
        )
        answer = gr.HTML(elem_id="live", elem_classes="answer", padding=False)
        session = gr.State(None)

    def listen(
        sound: Any, listener: Listener | None, request: gr.Request
    ) -> tuple[str, Listener | None]:
        return _listen(recognizer, sound, listener, _language(request))

    def begin(request: gr.Request) -> tuple[str, None]:
        return answers.live(None, _language(request)), None

    microphone.start_recording(_typed(begin, gr), None, [answer, session], api_visibility="private")
    microphone.stream(
        _typed(listen, gr),
        [microphone, session],
        [answer, session],
        stream_every=STREAM_EVERY_S,
        time_limit=LONGEST_LIVE_S,
        show_progress="hidden",
        concurrency_limit=4,
        api_visibility="private",
    )


def _people_tab(gr: Any, words: Any, recognizer: Recognizer) -> None:
    with gr.Tab(words("tab_people"), id="people") as tab:
        listed = gr.HTML(elem_id="people", elem_classes="answer", padding=False)
        with gr.Row(elem_classes="forget"):
            who = gr.Dropdown(label=words("forget_who"), choices=[], elem_id="forget-who")
            button = gr.Button(words("forget"), variant="stop", elem_id="forget-button")
        answer = gr.HTML(elem_id="forgetting", elem_classes="answer", padding=False)
        asked = gr.State(None)  # whom the question names, whatever is chosen meanwhile
        with gr.Row(elem_classes="forget", visible=False) as sure:
            yes = gr.Button(words("forget_yes"), variant="stop", elem_id="forget-yes")
            no = gr.Button(words("forget_no"), elem_id="forget-no")

    def refresh(request: gr.Request) -> tuple[str, Any]:
        found = recognizer.store.people()
        choices = [person.name for person in found]
        return answers.people(found, _language(request)), gr.Dropdown(choices=choices, value=None)

    def ask(name: str | None, request: gr.Request) -> tuple[str, str | None, Any]:
        question = answers.ask_to_forget(name, _language(request))
        return question, name, gr.Row(visible=bool(name))

    def forget(name: str | None, request: gr.Request) -> tuple[str, None, Any]:
        return answers.forget(recognizer, name, _language(request)), None, gr.Row(visible=False)

    def keep(request: gr.Request) -> tuple[str, None, Any]:
        return "", None, gr.Row(visible=False)

    question = {"outputs": [answer, asked, sure], "api_visibility": "private"}
    shown = {"outputs": [listed, who], "api_visibility": "private"}
    tab.select(_typed(refresh, gr), None, **shown)
    button.click(_typed(ask, gr), who, **question)
    no.click(_typed(keep, gr), None, **question)
    yes.click(_typed(forget, gr), asked, **question).then(_typed(refresh, gr), None, **shown)


def _listen(
    recognizer: Recognizer, sound: Any, listener: Listener | None, language: Language
) -> tuple[str, Listener | None]:
    """A piece of sound ``(sample_rate, samples)`` from the browser -> what is shown."""
    if sound is None:
        return answers.live(None, language), listener
    sample_rate, samples = sound
    try:
        if listener is None or listener.sample_rate != sample_rate:
            listener = Listener(recognizer, sample_rate=sample_rate, hop_s=LIVE_HOP_S)
        if samples.ndim == 2:  # mixed down, as every other way into Groove does
            samples = samples.mean(axis=1).astype(samples.dtype)
        heard: list[Heard] = listener.push(samples)
    except GrooveError as error:
        return answers.failure(error, language), None
    return answers.live(heard[-1] if heard else listener.shown, language), listener


def _recording(gr: Any, label: Any, elem_id: str) -> Any:
    return gr.Audio(
        label=label,
        sources=["upload", "microphone"],
        type="filepath",
        editable=False,
        buttons=[],
        elem_id=elem_id,
        elem_classes="recording",
        min_width=280,
        waveform_options=gr.WaveformOptions(
            waveform_color="#b6c2cf",
            waveform_progress_color="#0f766e",
            show_recording_waveform=True,
        ),
    )


def _typed(function: Callable[..., Any], gr: Any) -> Callable[..., Any]:
    """Gradio hands over the request to arguments annotated with its class, not with a name."""
    function.__annotations__["request"] = gr.Request
    return function


def _language(request: Any) -> Language:
    return language_of(request.headers.get("accept-language", ""))


def _translations(gr: Any) -> Any:
    english, chinese = ({key: pair[i] for key, pair in WORDS.items()} for i in (0, 1))
    tags = ("zh", "zh-CN", "zh-TW", "zh-HK", "zh-SG", "zh-Hans", "zh-Hant")
    return gr.I18n(en=english, **dict.fromkeys(tags, chinese))


def _theme(gr: Any) -> Any:
    """System fonts only: Gradio's own would be fetched from outside."""
    fonts = [
        "system-ui",
        "-apple-system",
        "Segoe UI",
        "PingFang SC",
        "Noto Sans CJK SC",
        "sans-serif",
    ]
    return gr.themes.Base(
        primary_hue="teal",
        neutral_hue="slate",
        radius_size="lg",
        font=fonts,
        font_mono=["ui-monospace", "monospace"],
    )


def _free_port(host: str) -> int:
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
