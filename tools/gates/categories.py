"""A small transparent classifier: which of the seeds' twelve categories does an instruction belong to?

Every category has cues, words and phrases in three strengths. A strength counts once however many of its cues occur;
the category with the highest sum wins, and the order of ``CATEGORIES`` settles a tie. Without any cue, a question asks
for an explanation and anything else for writing. So it can always be seen why a label was given.
"""

from __future__ import annotations

import re
from functools import lru_cache

CATEGORIES = (
    *("translation", "code", "mathematics", "summarising", "classification", "extraction", "comparison", "rewriting"),
    *("planning", "reasoning", "explanation", "writing"),
)
"""All categories, the more specific first."""

_STRONG, _PLAIN, _WEAK = 4, 2, 1
_LANGUAGE = (
    "spanish|french|german|italian|portuguese|dutch|swedish|norwegian|danish|finnish|polish|russian|ukrainian|czech|greek|"
    "latin|turkish|arabic|hebrew|persian|hindi|bengali|urdu|chinese|mandarin|japanese|korean|vietnamese|thai|swahili|welsh"
)
_PROGRAMMING = (
    r"python|java|javascript|typescript|c\+\+|c#|sql|html|css|php|ruby|rust|golang|bash|shell|regexp?"
    "|regular expressions?"
)
_CUES: dict[str, dict[int, str]] = {
    "translation": {
        _STRONG: (
            rf"translat\w+|(?:in|into|to|from) (?:natural |formal |plain )?(?:{_LANGUAGE})|"
            r"how (?:do|would) you say|(?:which|what) language is"
        ),
        _PLAIN: rf"{_LANGUAGE}|(?:into|in|to) (?:natural |plain )?english",
    },
    "code": {
        _STRONG: (
            rf"(?:{_PROGRAMMING}) (?:\w+ )?(?:function|program|script|code|class|query|command|statement|expression|"
            r"generator|method|snippet|loop)s?|"
            rf"(?:function|program|script|code|class|query|algorithm|statement|snippet)s? "
            rf"(?:in|using|with) (?:{_PROGRAMMING})|"
            r"debug|refactor|sql|source code|code snippets?|pseudo-?code|data structures?|"
            r"(?:write|create|implement|code|build|design|construct) an? (?:\w+ ){0,3}(?:function|algorithm|query|"
            r"script|program|class|regex)|print statement"
        ),
        _PLAIN: rf"{_PROGRAMMING}|functions?|algorithms?|arrays?|scripts?|compil\w+|programming|code|variables?|loops?",
        _WEAK: r"implement|strings?|web ?pages?|databases?|programs?|software",
    },
    "mathematics": {
        _STRONG: (
            r"calculate|comput(?:e|ing) the|equations?|probabilit(?:y|ies)|percent(?:age)?s? of|square roots?|"
            r"solve for|multiply|divided? by|fractions?|"
            r"(?:mean|median|mode|average|sum|product|difference|area|perimeter|volume|circumference|slope|"
            r"derivative|integral|lcm|gcd|hypotenuse) of|prime(?: number)?s?|whole numbers?|even number|add up|"
            r"how (?:much|many) (?:\w+ ){1,4}(?:need|left|cost|are in)|roots? of|decimals?|new price|in the ratio|"
            r"factorial|polynomial|simplify the expression|work out the exact"
        ),
        _PLAIN: (
            r"\d+ ?(?:%|percent|\+|\*|/|x|times|km|kg|hours|minutes|metres|meters|cm|miles) ?|solve|how fast|how far|"
            r"on average|estimate|angles?|triangles?|radius|convert \d+|greater than|math\w*|geometric|algebra\w*|"
            r"square (?:metres|feet)"
        ),
        _WEAK: r"how many|how much|numbers?|formula|\d+",
    },
    "summarising": {
        _STRONG: (
            r"summar\w+|sum up|condense|the gist|boil (?:\w+ ){1,4}down|main (?:point|idea|message|argument)s?|"
            r"key (?:points|takeaways)|shorten|tl;?dr|retell|in a nutshell|abstract of|report the results|synopsis|"
            r"the essentials|recap"
        ),
        _PLAIN: (
            r"(?:headline|title) (?:for|fits)|outline the (?:life|plot|main|history)|bullet points?|abridge|"
            r"(?:headline|title) (?:\w+ )?(?:fits|that fits|for the (?:following|given|text|article|news))"
        ),
        _WEAK: r"in (?:\w+ ){1,3}(?:sentences?|lines?|words)|briefly",
    },
    "classification": {
        _STRONG: (
            r"classif\w+|categori[sz]\w+|label the|assign the|sentiment|(?:positive|negative),? (?:or|and|neutral)|"
            r"spam|fact or (?:an )?opinion|which (?:group|category|type|class|register|genre)|"
            r"tell me what the \w+ intends|part of speech|(?:noun|adjective),? (?:an? )?(?:verb|adjective|adverb)|"
            r"identify the (?:tense|genre|tone|type|mood|emotion)"
        ),
        _PLAIN: (
            r"sort (?:each|the|these|them|every)|rate the|identify (?:if|whether)|determine (?:if|whether)|group the|"
            r"odd one out|would you (?:shelve|file|put)|count as|belongs? to|label|detect (?:if|whether)|"
            r"decide (?:if|whether)|formal or informal|as (?:either )?\w+(?:, \w+)* or (?:\w+-?)?\w+"
        ),
        _WEAK: r"identify|is (?:it|this|the) \w+ or|type of|is this|say whether|does this",
    },
    "extraction": {
        _STRONG: (
            r"extract|pull (?:out )?the|pick out|copy out|(?:are|is) (?:mentioned|named|stated)|in the order given|"
            r"retrieve|according to (?:the|this|these)|"
            r"from the (?:sentence|text|passage|paragraph|article|message|email)|"
            r"(?:find|identify|list|highlight|locate|underline|name|count) (?:all |every |"
            r"each )?(?:of )?(?:the )?(?:\w+ ){0,4}(?:in|from|of|within) (?:the|this|these|a) (?:following |given |"
            r"below )?(?:sentence|text|passage|paragraph|article|message|e-?mail|list|recipe|string|document|poem|"
            r"story|data)|as (?:a )?json|(?:to|as|into) (?:a )?csv|shopping list|"
            r"(?:subject|verb|noun|adjective|adverb|pronoun|preposition|proper noun|keyword|named entit|entit)\w*"
        ),
        _PLAIN: (
            r"which (?:people|places|requirements|words|names)|what hashtags|into its (?:\w+ ){0,2}parts|who did what|"
            r"every \w+ (?:named|of)"
        ),
        _WEAK: r"find the|return the|identify|names of|locate",
    },
    "comparison": {
        _STRONG: (
            r"compar\w+|contrast|differ(?:s|ences?|entiate)?|similarit(?:y|ies)|versus|vs|pros and cons|unlike|"
            r"in common|advantages and disadvantages|weigh(?:s)? (?:up|more|less)|distinguish|sets? (?:them|it) apart|"
            r"what changed|than the other"
        ),
        _PLAIN: (
            r"(?:which|who) (?:\w+ ){1,3}is (?:\w+er|more|less|better|worse)|of the two|between the (?:two|following)|"
            r"more \w+ than|which (?:\w+ ){1,2}(?:is|costs|are) (?:more|less|better|\w+er)|choose the \w+ or the|"
            r"two versions"
        ),
        _WEAK: r"better|which is|or the",
    },
    "rewriting": {
        _STRONG: (
            r"re-?writ\w+|rephras\w+|paraphras\w+|reword\w*|recast|edit the|edit this|proofread|correct the|fix the|"
            r"active voice|passive voice|reported speech|(?:first|third) person|in (?:\w+ )?other ways|"
            r"(?:spelling|grammar|grammatical|punctuation) (?:errors?|mistakes?)?|"
            r"more (?:concise|polite|formal|vivid|descriptive|friendly)|(?:past|present|future) tense|(?:be )?worded|"
            r"sentence structure|synonyms?|reorder|re-order|rearrange|unscramble|capitali[sz]e"
        ),
        _PLAIN: (
            r"replace|change the|make (?:the|this|these|it|\"[^\"]*\")|simplif\w+|improve|turn the|transform|"
            r"convert the|modify|revise|insert|add an?|express \"|fill in|combine the|punctuat\w+|cut all|shorter|"
            r"longer|delete|remove the|re-?phrase|tone|plain words|so that (?:it|a)|complete sentences?"
        ),
        _WEAK: r"(?:this|the|given|following) (?:sentence|text|passage|paragraph|phrase)|convert",
    },
    "planning": {
        _STRONG: (
            r"plan(?: out)? (?:an?|for|the|my)|(?:itinerar|agenda|schedul|timetabl|checklist|rota|roadmap)\w*|"
            r"(?:meal|lesson|study|business|marketing|action|project|workout|week|training) plan|plan (?:a|an|to)|"
            r"to-?do list|organi[sz]e an?|steps (?:would|should|to)|into targets|sensible order|must come first|"
            r"divide up|budget"
        ),
        _PLAIN: (
            r"plan|strateg(?:y|ies)|prepar\w+|recipe|"
            r"design an? (?:\w+ )?(?:diet|workout|program|campaign|experiment|survey|system)|propose|belong in an?|"
            r"workout|routine|allot|devise|outline the first|process (?:for|of|to)|arrange (?:a|an)"
        ),
        _WEAK: r"steps?|goals?|tips|ways to|suggest|organi[sz]\w+|recommend\w*",
    },
    "reasoning": {
        _STRONG: (
            r"(?:logical|conclusion|premise|contradict|deduc|infer|analog|riddle|puzzle|syllogis|fallac|hypothes)\w*|"
            r"who is the (?:old|young|tall|short|fast)\w+|how do you know|comes next|flaw in|clues|follow from|"
            r"if .* (?:which|what|how|who) |next (?:number|in the (?:sequence|series|pattern))|likely causes?|"
            r"just as likely|yes or no|every \w+ is an?|pattern"
        ),
        _PLAIN: (
            r"predict|what (?:would|will) happen|evaluate the|argument|justify|consequences?|implications?|analy[sz]e|"
            r"assess|why might|(?:older|younger|taller|shorter|faster) than|without one causing|could someone|"
            r"causes? of|critique|judge|on which|guess"
        ),
        _WEAK: r"if|suppose|given that|would|likely|determine|reason",
    },
    "explanation": {
        _STRONG: (
            r"explain\w*|explanation|why (?:do|does|did|is|are|was|were|would|has|have|can)|how (?:do|does|did) \w+|"
            r"meaning of|defin(?:e|ition)|what (?:is|are|does|was|were|causes?|purpose) |"
            r"tell (?:me|a \w+) (?:about|what|how|why)|spell out|in plain words|describe (?:how|the|what|why|in|a)|"
            r"discuss|elaborate|clarify"
        ),
        _PLAIN: (
            r"describe|what|how|why|impact of|role of|importance of|benefits? of|effects? of|history of|overview|who|"
            r"when|where|say (?:in|what)"
        ),
        _WEAK: r"example of|examples|name|list|state|provide|teach|facts?",
    },
    "writing": {
        _STRONG: (
            r"(?:write|compose|draft|create|generate|pen|craft|make up|tell|give me|come up with|make|construct|"
            r"produce|develop|think of|continue|prepare|record) (?:\w[\w-]* ){0,6}(?:stor(?:y|ies)|poem|haiku|"
            r"letter|e-?mail|essay|speech|song|lyrics|slogan|tagline|blog|article|post|tweet|paragraph|dialogue|"
            r"conversation|script|joke|rhyme|note|advert\w*|ad|description|review|headline|title|name|limerick|"
            r"sonnet|metaphor|simile|sentence|summary|caption|greeting|message|complaint|invitation|character|"
            r"proposal|quote|report|list|scenario|narrative|quiz|question|survey|pitch|biography|bio|memo|"
            r"press release|monologue)s?"
        ),
        _PLAIN: (
            r"write|compose|draft|pen|story|poem|haiku|letter|speech|slogan|tagline|blog|post|dialogue|joke|limerick|"
            r"opening line|subject line|invent|out-of-office|invitation|brainstorm|come up with|continue the story|"
            r"imagine|describe the (?:smell|sound|feel\w*|scene)"
        ),
        _WEAK: r"create|generate|compose|creative|short|give|suggest|construct|design|make",
    },
}
_PATTERNS = {
    category: [(weight, re.compile(rf"(?<!\w)(?:{cues})(?!\w)")) for weight, cues in levels.items()]
    for category, levels in _CUES.items()
}


@lru_cache(maxsize=4096)
def categorise(instruction: str) -> str:
    """Return the category, one of ``CATEGORIES``, that an instruction's wording points to most."""
    scores = category_scores(instruction)
    best = max(CATEGORIES, key=lambda category: scores[category])
    if scores[best] > 0:
        return best
    return "explanation" if instruction.rstrip().endswith("?") else "writing"


def category_scores(instruction: str) -> dict[str, int]:
    """Return each category's sum of cue strengths in an instruction: the reasons behind its label."""
    text = instruction[:1000].lower()
    return {
        category: sum(weight for weight, pattern in levels if pattern.search(text))
        for category, levels in _PATTERNS.items()
    }
