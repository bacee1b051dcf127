"""What the web page says, in English and Chinese. ``{}`` places are filled by `groove.service`."""

from __future__ import annotations

from typing import Literal

from groove.speech import SpeechReport

Language = Literal["en", "zh"]

WORDS: dict[str, tuple[str, str]] = {
    "title": ("Whose voice is it?", "这是谁的声音？"),
    "lead": (
        "Groove compares voices on this machine. Recordings are not kept and nothing leaves it.",
        "Groove 在本机比对声音。不保存录音，任何内容都不会离开这台机器。",
    ),
    "tab_compare": ("Compare", "比较"),
    "tab_enroll": ("Enrol", "登记"),
    "tab_identify": ("Who is it?", "这是谁"),
    "tab_live": ("Live", "实时"),
    "tab_people": ("People", "名单"),
    "first": ("First recording", "第一段录音"),
    "second": ("Second recording", "第二段录音"),
    "recording": ("Recording", "录音"),
    "compare": ("Compare the voices", "比较两个声音"),
    "compare_hint": (
        "Two recordings, uploaded or spoken. Three seconds of speech or more are best.",
        "上传或直接录制两段录音，每段最好有 3 秒以上的语音。",
    ),
    "name": ("Name", "姓名"),
    "consent": ("How and when the person agreed", "本人何时、以何种方式同意"),
    "consent_hint": (
        "A voiceprint is sensitive personal data; note the consent before you keep one.",
        "声纹属于敏感个人信息，保存前请记录本人的同意。",
    ),
    "enroll": ("Enrol this voice", "登记这个声音"),
    "enroll_hint": (
        "Enrolling a name again adds a recording to that person. Only the voiceprint is kept.",
        "再次登记同一姓名会为此人增加一段录音。只保存声纹，不保存录音。",
    ),
    "identify": ("Who is talking?", "说话的是谁？"),
    "identify_hint": (
        "Asks everybody who is enrolled. The more people, the higher the threshold.",
        "与所有已登记的人比对。人越多，阈值越高。",
    ),
    "live_hint": (
        "Press record and talk: the name follows a second or two behind.",
        "按下录音键开始说话，一两秒后显示姓名。",
    ),
    "microphone": ("Microphone", "麦克风"),
    "forget_who": ("Forget somebody", "删除某人"),
    "forget": ("Forget for good", "彻底删除"),
    "forget_sure": (
        "Forget {name}? The voiceprint is deleted; this cannot be undone.",
        "要删除 {name} 吗？声纹将被清除，无法恢复。",
    ),
    "forget_yes": ("Yes, forget for good", "确认彻底删除"),
    "forget_no": ("No, keep", "不删除"),
    "same": ("Same voice", "同一个人"),
    "different": ("Different voices", "不是同一个人"),
    "undecided": ("Undecided", "无法判断"),
    "nobody": ("Nobody who is enrolled", "不在名单中"),
    "listening": ("Listening …", "正在听……"),
    "silence": ("(nobody talks)", "（没有人说话）"),
    "score": ("score", "得分"),
    "threshold": ("threshold", "阈值"),
    "probability_same": ("{} that it is the same voice", "同一个人的概率 {}"),
    "probability_is": ("{} likely", "概率 {}"),
    "nobody_row": ("nobody of them", "都不是"),
    "why": ("Why", "依据"),
    "why_same": (
        "The score {score:.2f} reaches the threshold {threshold:.2f}.",
        "得分 {score:.2f} 达到阈值 {threshold:.2f}。",
    ),
    "why_different": (
        "The score {score:.2f} is below the threshold {threshold:.2f}.",
        "得分 {score:.2f} 低于阈值 {threshold:.2f}。",
    ),
    "why_undecided": (
        "There is too little speech to judge; silence never matches.",
        "语音太少，无法判断；静音永远不会匹配。",
    ),
    "rule": (
        "At this threshold at most {fmr:g} % of different voices match falsely (measured on "
        "{pairs:,} pairs of {speakers:,} speakers).",
        "在此阈值下，不同的人被误判为同一人的比例不超过 {fmr:g} %"
        "（在 {speakers:,} 名说话人的 {pairs:,} 对录音上测得）。",
    ),
    "rule_given": ("The threshold was given by hand.", "阈值由人工指定。"),
    "rule_population": (
        "People enrolled: {n:,}. A stranger is named in at most {fpir:g} % of cases; so one "
        "comparison may match falsely in {fmr:.2g} % ({measured}).",
        "名单共 {n:,} 人，陌生人被误认的比例不超过 {fpir:g} %，"
        "因此单次比对的误匹配率须不高于 {fmr:.2g} %（{measured}）。",
    ),
    "measured": ("measured", "已实测"),
    "not_measured": ("not measured; continued on the strict side", "未实测，按偏严方式外推"),
    "odds": (
        "The probability takes both answers as equally likely beforehand.",
        "概率按两种答案事先可能性相等来计算。",
    ),
    "speech_of": (
        "{speech:.1f} s of speech in {seconds:.1f} s",
        "{seconds:.1f} 秒，其中语音 {speech:.1f} 秒",
    ),
    "enrolled": ("Enrolled: {name}", "已登记：{name}"),
    "enrolled_how": (
        "Recordings: {n}, {added} of them new; {speech:.1f} s of speech in all.",
        "共 {n} 段录音，语音合计 {speech:.1f} 秒，本次新增 {added} 段。",
    ),
    "people_none": ("Nobody is enrolled yet.", "还没有人登记。"),
    "col_name": ("Name", "姓名"),
    "col_recordings": ("Recordings", "录音"),
    "col_speech": ("Speech", "语音"),
    "col_since": ("Enrolled", "登记时间"),
    "col_consent": ("Consent", "同意记录"),
    "forgotten": (
        "{name} is forgotten: the voiceprint is deleted, and was looked for in the file and not "
        "found.",
        "已删除 {name}：声纹已清除，并已在文件中逐字节核查，未再发现。",
    ),
    "need_two": ("Give two recordings first.", "请先提供两段录音。"),
    "need_one": ("Give a recording first.", "请先提供一段录音。"),
    "need_name": ("Give a name first.", "请先填写姓名。"),
    "need_person": ("Choose somebody first.", "请先选择要删除的人。"),
    "failed": ("That did not work", "未能完成"),
    "failed_UnreadableAudio": (
        "This file is not audio, or it is damaged or cut short.",
        "此文件不是音频，或已损坏、不完整。",
    ),
    "failed_UnsupportedFormat": (
        "This kind of audio needs a decoder that is not installed here: pip install "
        "'groove-sv[formats]', or ffmpeg.",
        "本机没有此格式的解码器：请安装 pip install 'groove-sv[formats]' 或 ffmpeg。",
    ),
    "failed_EmptyAudio": ("This recording is empty.", "这段录音是空的。"),
    "failed_NoSpeech": (
        "There is no speech in it, or too little; record someone talking for a few seconds.",
        "录音中没有语音，或语音太少；请录制几秒钟的说话声。",
    ),
    "failed_OtherVoice": (
        "This does not sound like the person of that name. Record again, or choose another name.",
        "这不像此姓名之下已登记的声音。请重新录制，或换一个姓名。",
    ),
    "failed_UnknownPerson": ("Nobody of that name is enrolled.", "没有登记此姓名的人。"),
    "failed_NobodyEnrolled": (
        "Nobody is enrolled yet; enrol somebody first.",
        "还没有登记任何人，请先登记。",
    ),
    "failed_ModelMismatch": (
        "The voices were enrolled with another model; start the page with that one, or enrol them "
        "again with  groove reembed.",
        "已登记的声音来自另一个模型；请用该模型启动页面，或用 groove reembed 重新登记。",
    ),
    "not_alone": (
        "Groove does not detect replayed, converted or synthetic voices. Do not use it as the only "
        "proof of identity.",
        "Groove 不检测重放、变声或合成语音，请勿将其作为唯一的身份凭证。",
    ),
    "warn_no_speech": ("nobody talks in it", "没有人说话"),
    "warn_too_short": (
        "only {speech:.1f} s of speech; record more",
        "语音只有 {speech:.1f} 秒，请多录一些",
    ),
    "warn_short": (
        "little speech ({speech:.1f} s): the answer is less certain",
        "语音较少（{speech:.1f} 秒），结果不够确定",
    ),
    "warn_quiet": ("very quiet; move closer to the microphone", "音量很小，请靠近麦克风"),
    "warn_clipped": ("clipped; lower the recording level", "有削波，请降低录音音量"),
    "warn_noisy": ("noisy background", "背景噪声大"),
    "warn_narrow_band": (
        "telephone sound, next to nothing above 4 kHz; a wide-band recording decides better",
        "电话音质（4 kHz 以上几乎没有声音）；宽带录音判断更可靠",
    ),
    "warn_mixed_channels": (
        "one side is telephone sound, the other is not: the same voice is missed more often, and "
        "the probability was not measured on such pairs",
        "一边是电话音质，另一边不是：同一人更容易被漏掉，概率也没有在这样的录音对上测量过",
    ),
    "warn_not_for_telephone": (
        "both recordings are telephone sound, on which this model was not measured: expect more "
        "false matches than promised",
        "两边都是电话音质，而这个模型没有在这种声音上测过：误匹配会多于承诺的比例",
    ),
    "warn_low_rate": (
        "A low-rate mp3: strangers in two such sound alike, one voice in such a one and a better "
        "one does not.",
        "低码率 mp3：两段都这样时，陌生人听起来相像；只有一段这样时，同一人听起来也不像。",
    ),
    "warn_same_sound": (
        "the two recordings are the same sound: this says nothing about two voices",
        "两段录音是同一段声音，不能说明是不是同一个人",
    ),
    "warn_close_call": (
        "decision and probability disagree: the score lies between the threshold and even odds; "
        "more speech decides better",
        "判断与概率不一致：得分介于阈值与等概率点之间；语音更多，判断更可靠",
    ),
    "warn_settings": (
        "the threshold was not measured for these settings",
        "阈值不是在这些设置下测得的",
    ),
    "warn_uncalibrated": (
        "the model is not calibrated: no probability",
        "模型未校准，因此没有概率",
    ),
}


def say(language: Language, key: str, *places: object, **named: object) -> str:
    """The words for ``key``, with their places filled."""
    return WORDS[key][language == "zh"].format(*places, **named)


def warning_text(language: Language, code: str, speech: SpeechReport | None) -> str:
    """A warning's words by its stable code."""
    return say(language, f"warn_{code}", speech=speech.speech_s if speech else 0.0)


def language_of(accepted: str) -> Language:
    """The page's language for an Accept-Language header: the first that is known, else English.

    >>> language_of("fr;q=0.9, zh-CN;q=0.8, en;q=0.1")
    'zh'
    """
    wishes = []
    for place, part in enumerate(accepted.split(",")):
        tag, _, quality = part.strip().lower().partition(";q=")
        try:
            weight = float(quality or 1)
        except ValueError:
            weight = 0.0
        wishes.append((-weight, place, tag[:2]))
    for _, _, tag in sorted(wishes):
        if tag == "zh":
            return "zh"
        if tag == "en":
            return "en"
    return "en"
