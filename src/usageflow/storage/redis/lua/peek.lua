-- peek: tells what take would answer and writes nothing. Arguments and answer: questions.lua. O(limits + holds that are over).

return answer_all(true)
