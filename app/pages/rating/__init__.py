"""The page of those who judge: agree, judge item after item, skip, flag. Works without script as plain forms."""
