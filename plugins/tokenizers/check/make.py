"""Makes the small byte-pair vocabularies beside it, learned of a few sentences of our own, in the layouts that others
publish, and what Hugging Face's `tokenizers` (0.23.3, Apache-2.0) makes of texts by them: tests/data/byte_pairs.json.

    python3 -m venv venv && venv/bin/pip install tokenizers && venv/bin/python plugins/tokenizers/check/make.py
"""

import json
import pathlib

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

here = pathlib.Path(__file__).parent
tests = here / "../../../tests/data"
corpus = [
    "a red bag", "two red sneakers above a blue bag", "a green coat below two red coats",
    "a blue shoe left of a green bag", "two green shoes right of a yellow dress",
    "a magenta shirt above two cyan trousers", "it's what they're reading now",
] * 3
texts = corpus[:7] + [
    "a xylophone bag", "", "Two  Red   bags, aren't they?", "12 bags (of 345)", "  a red bag ", "naïve cafés",
    "we'll see... \"red\"!", "tabs\tand\nlines", "a-b_c/d", "I'D SAY they'd've",
]

def gpt2():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=330, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  show_progress=False)
    tokenizer.train_from_iterator(corpus, trainer)
    return tokenizer

def clip():
    words = (r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    def dressed(model):
        tokenizer = Tokenizer(model)
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(words), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        return tokenizer
    learner = dressed(models.BPE(end_of_word_suffix="</w>"))
    trainer = trainers.BpeTrainer(vocab_size=340, end_of_word_suffix="</w>", show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    learner.train_from_iterator(corpus, trainer)
    learned = json.loads(learner.to_str())["model"]
    # As CLIP's: every byte, every byte at the end of a word, the merges in their order, the two marks.
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in learned["merges"]]
    tokens = alphabet + [a + "</w>" for a in alphabet]
    tokens += [token for token in ("".join(merge) for merge in merges) if token not in tokens]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {token: i for i, token in enumerate(tokens)}
    return dressed(models.BPE(vocab=vocab, merges=merges, end_of_word_suffix="</w>", unk_token="<|endoftext|>"))

def write(tokenizer, folder):
    model = json.loads(tokenizer.to_str())["model"]
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    folder.mkdir(exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")

of_gpt2, of_clip = gpt2(), clip()
write(of_gpt2, here)
write(of_clip, tests / "clip_pairs")
of_gpt2.save(str(tests / "byte_pairs_tokenizer.json"), pretty=False)
rows = [{"text": text, "gpt2": of_gpt2.encode(text).ids, "clip": of_clip.encode(text).ids} for text in texts]
(tests / "byte_pairs.json").write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
