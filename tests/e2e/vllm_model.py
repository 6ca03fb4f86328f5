"""Makes a model that is all configuration and no weights: `vllm_model.py FOLDER`. Runs in vLLM's own environment.

A Llama of two small layers, and a tokenizer that is trained on the spot. vLLM fills the weights at random (`--load-format dummy`).
"""

import sys

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, PreTrainedTokenizerFast

SENTENCES = (
    "a server waits for requests, puts them into a queue, computes their tokens and sends them back",
    "what an inference costs is the power, the cooling and the machine divided by the inferences in time",
    "the longer the batch, the better the machine is used and the longer everybody waits",
    "prefill is bound by arithmetic, decode by the bandwidth of the memory",
)
BEGIN, END, USER, ASSISTANT = "<|begin|>", "<|end|>", "<|user|>", "<|assistant|>"
TEMPLATE = (
    f"{{% for message in messages %}}{USER}{{{{ message['content'] }}}}{{% endfor %}}"
    f"{{% if add_generation_prompt %}}{ASSISTANT}{{% endif %}}"
)


def main(folder: str) -> None:
    """Writes configuration and tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=1000, special_tokens=[BEGIN, END, USER, ASSISTANT], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(SENTENCES * 40, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BEGIN, eos_token=END, pad_token=END)
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    LlamaConfig(
        architectures=["LlamaForCausalLM"],
        vocab_size=1024,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=2048,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
        tie_word_embeddings=True,
        dtype="bfloat16",
    ).save_pretrained(folder)


if __name__ == "__main__":
    main(sys.argv[1])
