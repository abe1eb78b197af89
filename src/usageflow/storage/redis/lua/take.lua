-- take: decides each of up to 100 takes in order, each all or nothing. Arguments and answer: questions.lua.
-- Atomic: Redis runs nothing beside a script, and everything that can fail fails before the first write.
-- O(limits + holds that are over).

return answer_all(false)
