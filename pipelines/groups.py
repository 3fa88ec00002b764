"""Names of the asset groups, numbered so that the UI lists them along the flow."""

LAB = "a_lab"
LOGS = "a_logs"
WAREHOUSE = "b_warehouse"
GYM = "c_gym"
AGENT = "d_agent"
EVALUATION = "e_evaluation"
PROMOTION = "f_promotion"
ADVICE = "g_advice"
ALL = (LAB, LOGS, WAREHOUSE, GYM, AGENT, EVALUATION, PROMOTION, ADVICE)
