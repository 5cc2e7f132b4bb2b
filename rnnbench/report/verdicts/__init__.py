"""Claims of papers judged on runs: which runs are meant, what they show, with which power, what that makes of the claim."""
