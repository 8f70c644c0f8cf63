/* Every limit on foreign input, in one place. Each queue, body, prompt, graph, recursion and loop
 * over foreign bytes has its bound here, with the reason when it is not obvious. */
#pragma once

/* HTTP */
#define LIMIT_HTTP_BODY_BYTES (256u << 20)    /* JSON bodies; images come inside as base64 */
#define LIMIT_HTTP_INFLATED_BYTES (20u << 20) /* compressed bodies, as Ollama */
#define LIMIT_HTTP_HEADER_BYTES (64u << 10)
#define LIMIT_HTTP_CONNECTIONS 1024
#define LIMIT_JSON_DEPTH 128
#define LIMIT_FORM_PARTS 64
#define LIMIT_FORM_HEAD_BYTES (16u << 10)  /* the headers of one part */
#define LIMIT_FORM_TEXT_BYTES (1u << 20)   /* one field that is no file */
#define LIMIT_UPLOAD_BYTES (100u << 20)    /* one form, as clients are told */
#define LIMIT_WS_MESSAGE_BYTES (1u << 20)  /* from a client */
#define LIMIT_WS_BACKLOG_BYTES (64u << 20) /* to a client that reads slowly */
#define LIMIT_WS_STALL_S 60                /* nothing moved for so long: closed */
#define LIMIT_WS_PING_S 30

/* Pictures: the server's side */
#define LIMIT_HISTORY_JOBS 10000
#define LIMIT_FOLDER_KEYS 64
#define LIMIT_FOLDER_PATHS 16 /* of one key */
#define LIMIT_FOLDER_FILES 100000
#define LIMIT_FOLDER_DEPTH 16
#define LIMIT_PATH_BYTES 1024           /* a name inside a folder */
#define LIMIT_METADATA_BYTES (1u << 20) /* header of a file whose metadata is shown */
#define LIMIT_SETTINGS_BYTES (4u << 20)
#define LIMIT_IMAGE_QUEUE 10000                   /* waiting jobs before 429 */
#define LIMIT_IDEMPOTENCY_MS (24 * 3600 * 1000LL) /* how long a key is remembered */

/* Files */
#define LIMIT_GGUF_KEYS (1u << 20)
#define LIMIT_GGUF_TENSORS (1u << 18)
#define LIMIT_GGUF_STRING_BYTES (1u << 30)
#define LIMIT_GGUF_ARRAY_ITEMS (1u << 28)
#define LIMIT_SAFETENSORS_HEADER_BYTES (100u << 20)
#define LIMIT_SAFETENSORS_TENSORS (1u << 20)
#define LIMIT_TENSOR_DIMS 4

/* Models */
#define LIMIT_VOCAB (1u << 22)
#define LIMIT_TOKEN_BYTES UINT16_MAX
#define LIMIT_TOK_TEXT_BYTES (64u << 20) /* one prompt */
#define LIMIT_LAYERS 1024
#define LIMIT_ADAPTER_RANK 1024 /* of a LoRA's matrices */
#define LIMIT_ADAPTER_ALPHA 1e6
#define LIMIT_CTX_TOKENS (1u << 24)
#define LIMIT_EMBD (1u << 17) /* model width */
#define LIMIT_FFN (1u << 21)  /* inner width of a feed-forward block */
#define LIMIT_HEADS 4096
#define LIMIT_HEAD_DIM 1024
#define LIMIT_EXPERTS 4096
#define LIMIT_STEP_TOKENS 8192 /* one step of a model: embedding models take whole texts */

/* Pictures */
#define LIMIT_IMAGE_SIDE 16384        /* pixels; also what workflows may ask for */
#define LIMIT_IMAGE_PIXELS (1u << 26) /* of all frames of a file: 1 GiB as floats */
#define LIMIT_IMAGE_FRAMES 4096
#define LIMIT_IMAGE_FILE_BYTES (512u << 20)
#define LIMIT_WORK_PIXELS (1u << 26)      /* of all pictures that one node samples or decodes */
#define LIMIT_WORK_FLOPS 1e16             /* of one node: about a day on a few cores */
#define LIMIT_CONDS 256                   /* encoded prompts of one side */
#define LIMIT_COND_TOKENS 16384           /* of one of them */
#define LIMIT_PIXEL_VALUES (1ull << 29)   /* floats of one picture, mask or latent in a workflow */
#define LIMIT_PNG_CHUNKS 1000             /* beside the pixels */
#define LIMIT_PNG_CHUNK_BYTES (16u << 20) /* unpacked */
#define LIMIT_JPEG_SCANS 500              /* of a progressive file: each costs a pass */

/* Templates: a chat template is a program from a stranger */
#define LIMIT_TEMPLATE_BYTES (1u << 20)
#define LIMIT_TEMPLATE_DEPTH 128
#define LIMIT_TEMPLATE_STEPS 20000000u
#define LIMIT_TEMPLATE_OUTPUT_BYTES (64u << 20)
#define LIMIT_TEMPLATE_MEMORY_BYTES (512u << 20) /* everything made while rendering */

/* Workflows */
#define LIMIT_FLOW_NODES 20000
#define LIMIT_FLOW_INPUTS 1000 /* of one node, as it came */
#define LIMIT_FLOW_ID_BYTES 1000
#define LIMIT_FLOW_TEXT_BYTES (64u << 20)   /* of a text that a node makes */
#define LIMIT_FLOW_LIST 100000              /* runs of one node over lists */
#define LIMIT_FLOW_CACHE_BYTES (2ull << 30) /* node outputs kept when nothing runs */

/* Requests */
#define LIMIT_MESSAGES 100000
#define LIMIT_STOP_STRINGS 1000
#define LIMIT_TOOLS 4096
#define LIMIT_LOGIT_BIAS 4096
#define LIMIT_STOP_BYTES 4096
#define LIMIT_EMBED_INPUTS 100000
#define LIMIT_NAME_BYTES 600
#define LIMIT_TOP_LOGPROBS 20
#define LIMIT_CHOICES 128              /* `n`: answers to one request */
#define LIMIT_PROMPT_BYTES (64u << 20) /* text given to the tokenizer for one request */
#define LIMIT_STREAM_BYTES (8u << 20)  /* events of one job that nobody has read yet */
#define LIMIT_QUEUE_JOBS 65536         /* upper bound of max_queue */
#define LIMIT_PARALLEL 256             /* upper bound of max_parallel */
#define LIMIT_HTTP_IDLE_S 75 /* a request must make progress; answers have no time limit */

/* Grammars of constrained output */
#define LIMIT_GRAMMAR_NODES (1u << 20)
#define LIMIT_GRAMMAR_RULES 65536
#define LIMIT_GRAMMAR_LOOKS (1u << 24) /* nodes visited in the search for left recursion */
#define LIMIT_GRAMMAR_DEPTH 1000       /* of expressions inside each other */
#define LIMIT_GRAMMAR_STATES 16384     /* kept at once */
#define LIMIT_GRAMMAR_STATE_BYTES (8u << 20)
#define LIMIT_GRAMMAR_WORK (1 << 22) /* positions looked at for one answer: so many at once, */
#define LIMIT_GRAMMAR_WORK_TOKEN (1 << 16) /* and so many more with each token */
#define LIMIT_GRAMMAR_CELLS 65536u  /* of stacks, kept at once: how deep the output may nest */
#define LIMIT_GRAMMAR_PRODUCT 32768 /* states of two expressions that must both hold */
#define LIMIT_GRAMMAR_PRODUCTS (1u << 21) /* states and nodes of all of them together */
#define LIMIT_GRAMMAR_MERGES (1u << 18)   /* steps of joining and comparing parts of a schema */
#define LIMIT_GRAMMAR_MULTIPLE 2048       /* of multipleOf */
#define LIMIT_GRAMMAR_PLACES 32768        /* one state */
#define LIMIT_GRAMMAR_REPEAT 100000
#define LIMIT_SCHEMA_BYTES (4u << 20)

/* What a registry may send */
#define LIMIT_NET_HEADER_BYTES (256u << 10)
#define LIMIT_NET_REPLY_BYTES (4u << 20) /* manifests, tokens, errors: what is kept in memory */
#define LIMIT_NET_REDIRECTS 10
#define LIMIT_CREATE_FILES 2000 /* of one model */
#define LIMIT_BLOB_BYTES (4ull << 40)
#define LIMIT_MANIFEST_LAYERS 4096
#define LIMIT_TRANSFERS 64       /* at once, of all callers */
#define LIMIT_TRANSFER_PARTS 256 /* of one blob */
#define LIMIT_TRANSFER_TRIES 1000

/* Pictures: prompts */
#define LIMIT_IMAGE_PROMPT_BYTES (64u << 10)

/* The web app */
#define LIMIT_WEB_BODY_BYTES (32u << 20)
#define LIMIT_WEB_IMPORT_BYTES (64u << 20)
#define LIMIT_WEB_HITS 200 /* chats that a search shows */
#define LIMIT_WEB_MESSAGE_BYTES (4u << 20)
#define LIMIT_WEB_MESSAGES 20000 /* of one chat */
#define LIMIT_WEB_CHATS 100000   /* of one user */
#define LIMIT_WEB_TITLE_BYTES 800
#define LIMIT_WEB_TEXT_BYTES 300 /* names, emails */
#define LIMIT_WEB_SYSTEM_BYTES (256u << 10)
#define LIMIT_WEB_JSON_BYTES (256u << 10) /* params, settings, meta */
#define LIMIT_WEB_ITEM_BYTES (8u << 20)   /* a studio workflow, a prompt */
#define LIMIT_WEB_ITEMS 5000              /* of one kind and user */
#define LIMIT_WEB_USERS 10000
#define LIMIT_WEB_KEYS 200    /* of one user */
#define LIMIT_WEB_SESSIONS 50 /* of one user: one more ends the one that was idle longest */
#define LIMIT_WEB_PASSWORD_BYTES 1024
#define LIMIT_WEB_RUNS 8                /* answers being made in one chat */
#define LIMIT_WEB_USER_RUNS 32          /* of one user */
#define LIMIT_WEB_STREAMS 64            /* event streams of one user */
#define LIMIT_WEB_RING_BYTES (1u << 20) /* events of one channel that can be resumed */
#define LIMIT_WEB_ANSWER_BYTES (8u << 20)
#define LIMIT_WEB_ATTACHED 32                /* files of one message */
#define LIMIT_WEB_FILES 10000                /* of one user */
#define LIMIT_WEB_FILES_BYTES (32ll << 30)   /* of one user, all files together */
#define LIMIT_WEB_DOCUMENT_BYTES (16u << 20) /* text of one file */
#define LIMIT_WEB_CHUNKS 20000               /* of one file */
#define LIMIT_WEB_SCANNED 200000             /* chunks compared by one search */
#define LIMIT_WEB_INLINE_BYTES (64u << 10)   /* an attached file up to here is given whole */
